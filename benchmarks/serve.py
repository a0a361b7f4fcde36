"""Requests a second of `gan serve` beside `mlflow models serve`: `python -m benchmarks.serve`.

Run it in the folder of a project whose champion is a digits generator. Both servers get the same requests, one image
each, from the same clients, and take turns in being asked.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.children import ROOT
from benchmarks.machine import machine_facts
from pipelines import environment
from pipelines.registry.served import ModelAddress
from pipelines.tracking.store import connect
from tests.mlflow_server import free_port

RESULT = ROOT / "benchmarks" / "results" / "serve.md"
CLIENTS = (1, 8, 64)
SLOT_S = 5.0
ROUNDS = 3
SOAK_REQUESTS = 100_000
SWAPS, SWAP_CLIENTS, SWAP_S = 4, 16, 60.0
EXPLANATION = """\
One image a request, POST /invocations, connections kept open; the clients run on the same two cores. Requests a second
and milliseconds until an answer: medians of the rounds. CPU is what the server computed for a request, on all cores
together; it tells more than the rate where others use the machine. `GET /sample` gives the same image as a PNG file."""


@dataclass(frozen=True)
class Slot:
    """What clients saw in one stretch."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failures: int


def request(host: str, port: int, seed: int, *, as_png: bool) -> bytes:
    """One HTTP request for one image."""
    if as_png:
        return f"GET /sample?seed={seed} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    body = json.dumps({"inputs": [{"count": 1, "seed": seed}]})
    head = f"POST /invocations HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def client(port: int, until: float, seconds: list[float], failed: list[int], *, first: int, as_png: bool) -> None:
    """Ask again and again on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seed = first
    while time.perf_counter() < until:
        begun = time.perf_counter()
        writer.write(request("127.0.0.1", port, seed, as_png=as_png))
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        seconds.append(time.perf_counter() - begun)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            failed.append(seed)
        seed += 1
    writer.close()


def ask(port: int, clients: int, seconds: float, *, as_png: bool = False) -> Slot:
    """So many clients for so long."""
    took: list[float] = []
    failed: list[int] = []

    async def together() -> float:
        begun = time.perf_counter()
        await asyncio.gather(
            *(client(port, begun + seconds, took, failed, first=1000 * each, as_png=as_png) for each in range(clients))
        )
        return time.perf_counter() - begun

    lasted = asyncio.run(together())
    p50, p99 = np.percentile(np.array(took) * 1000, (50, 99))
    return Slot(len(took) / lasted, float(p50), float(p99), len(failed))


@contextmanager
def server(command: list[str], port: int, path: str) -> Iterator[tuple[psutil.Process, float]]:
    """A server, and the seconds until it answered first."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=os.environ
    )
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.05)
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)}: ended with exit code {process.returncode}")
        yield psutil.Process(process.pid), time.perf_counter() - begun
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def mib(process: psutil.Process) -> float:
    """Resident memory of a process and its children."""
    return float(sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))) / 2**20


def cpu_s(process: psutil.Process) -> float:
    """What a process and its children have computed so far."""
    return float(sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True))))


def soak(port: int, process: psutil.Process, requests: int) -> tuple[float, float, int]:
    """MiB after the first tenth of the requests and after all, and failures."""
    done, failures, early = 0, 0, 0.0
    while done < requests:
        slot = ask(port, 8, SLOT_S)
        done += round(slot.requests_per_s * SLOT_S)
        failures += slot.failures
        if not early and done >= requests / 10:
            early = mib(process)
        print(f"soak: {done} of {requests}, {mib(process):.0f} MiB", flush=True)
    return early, mib(process), failures


def swaps(port: int, model: str) -> tuple[Slot, list[float]]:
    """What clients saw while the alias went to another version and back, and the seconds that each swap took.

    The other version has the same generator, so that all answers are to be alike; it is removed afterwards.
    """
    address, client = ModelAddress.parse(model), connect()
    if address.alias is None:
        raise SystemExit(f"{model}: name an alias, which can move")
    here = client.get_model_version_by_alias(address.name, address.alias)
    twin = client.create_model_version(address.name, str(here.source), run_id=here.run_id, tags=here.tags)
    took: list[float] = []
    try:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, port, SWAP_CLIENTS, SWAP_S)
            for number in [str(twin.version), str(here.version)] * (SWAPS // 2):
                client.set_registered_model_alias(address.name, address.alias, number)
                begun = time.perf_counter()
                while httpx.get(f"http://127.0.0.1:{port}/health", timeout=30).json()["version"] != number:
                    time.sleep(0.1)
                took.append(time.perf_counter() - begun)
            if asked.done():
                raise SystemExit(f"{SWAPS} swaps took more than {SWAP_S:g} s; nobody asked during the last ones")
            return asked.result(), took
    finally:
        client.set_registered_model_alias(address.name, address.alias, here.version)
        client.delete_model_version(address.name, twin.version)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="models:/digits@champion")
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--soak-requests", type=int, default=SOAK_REQUESTS)
    arguments = parser.parse_args()
    environment.apply()
    ours, theirs = free_port(), free_port()
    gan = [
        sys.executable, "-m", "pipelines.cli", "serve", arguments.model, "--port", str(ours), "--check-every-s", "1",
    ]  # fmt: skip
    mlflow = [
        sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", arguments.model, "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(theirs), "--workers", "1",
    ]  # fmt: skip
    facts = machine_facts("torch", "mlflow", "fastapi", "uvicorn", "httptools")
    with server(gan, ours, "/health") as (process, start_s), server(mlflow, theirs, "/ping") as (other, other_start_s):
        contenders: dict[str, tuple[psutil.Process, Callable[[int], Slot]]] = {
            "gan serve, /invocations": (process, lambda count: ask(ours, count, SLOT_S)),
            "gan serve, /sample": (process, lambda count: ask(ours, count, SLOT_S, as_png=True)),
            "mlflow models serve": (other, lambda count: ask(theirs, count, SLOT_S)),
        }
        found: dict[tuple[str, int], list[Slot]] = {}
        computed_ms: dict[tuple[str, int], list[float]] = {}
        for _ in range(ROUNDS):
            for count in CLIENTS:
                for name, (asked, run) in contenders.items():
                    before = cpu_s(asked)
                    slot = run(count)
                    each_ms = 1000 * (cpu_s(asked) - before) / (slot.requests_per_s * SLOT_S)
                    found.setdefault((name, count), []).append(slot)
                    computed_ms.setdefault((name, count), []).append(each_ms)
                    print(name, count, slot, f"{each_ms:.2f} ms of CPU", flush=True)
        swapped, took = swaps(ours, arguments.model)
        memory, other_memory = mib(process), mib(other)
        early, late, failures = soak(ours, process, arguments.soak_requests)
    lines = [
        f"# Serving digits on {facts['kind']}, {facts['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date")) + ".",
        "",
        EXPLANATION,
        "",
        "| server | clients | requests/s | p50, ms | p99, ms | CPU, ms | failures |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, count), slots in sorted(found.items(), key=lambda each: each[0][1]):
        rate, p50, p99 = (
            float(np.median([getattr(slot, key) for slot in slots])) for key in ("requests_per_s", "p50_ms", "p99_ms")
        )
        failed = sum(slot.failures for slot in slots)
        cpu = np.median(computed_ms[name, count])
        lines.append(f"| {name} | {count} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {cpu:.2f} | {failed} |")
    lines += [
        "",
        f"First answer after {start_s:.1f} s (`gan serve`), {other_start_s:.1f} s (MLflow), which started beside each "
        f"other's work. Memory {memory:.0f} and {other_memory:.0f} MiB. After {arguments.soak_requests:,} more "
        f"requests of 8 clients `gan serve` had {late:.0f} MiB ({early:.0f} after a tenth), and {failures} failures.",
    ]
    lines += [
        "",
        f"While {SWAP_CLIENTS} clients asked, the alias moved {SWAPS} times; the server had the other version after "
        f"{np.mean(took):.1f} s. {swapped.requests_per_s * SWAP_S:.0f} requests were answered, {swapped.failures} of "
        f"them with a failure, and none was lost; the slowest hundredth took {swapped.p99_ms:.0f} ms or more.",
    ]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(arguments.output)


if __name__ == "__main__":
    main()
