"""The checks, each a generator of rows: what was looked at, figures, and where there is a verdict, `ok`."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import Contender, Ours
from benchmarks.gpu.card import ROOT, Card, presets
from benchmarks.gpu.exactness import equal_runs, penalties_in_precisions
from benchmarks.measuring import elapsed
from benchmarks.recipes import FAMILIES
from benchmarks.train_step import PEAK_TFLOPS
from benchmarks.worker import flops_of
from ganlib.config import RunConfig
from ganlib.training import feeding as module

Row = dict[str, Any]
BATCH_SIZES = (64, 256, 512)
WARM_UP_ITERATIONS = 8  # kernels are chosen, Adam makes its state, graphs are captured
# Ours, by how the report calls it.
MODES: dict[str, dict[str, Any]] = {
    "ours fp32": {"precision": "fp32"},
    "ours tf32": {"precision": "tf32"},
    "ours bf16": {"precision": "bf16"},
    "ours bf16 graph": {"precision": "bf16", "cuda_graph": True},
    "ours bf16 compile": {"precision": "bf16", "compile": True},
    "ours bf16 deterministic": {"precision": "bf16", "deterministic": True},
}
REHEARSED = ("ours fp32", "ours bf16")
COMPILED_AT = 256  # compiling takes longer than all else


@dataclass(frozen=True)
class Check:
    """One check: what it tells, in a process of its own, for so long at most."""

    title: str
    run: Callable[[Card], Iterator[Row]]
    limit_s: float


def waiting(card: Card) -> Iterator[Row]:
    """Iterations of every preset while waiting for the device is an error."""
    for name in presets():
        ours = card.ours(card.preset(name))
        ours.run(card.iterations(WARM_UP_ITERATIONS))
        before = torch.cuda.get_sync_debug_mode() if torch.cuda.is_available() else None
        try:
            if before is not None:
                torch.cuda.set_sync_debug_mode("error")
            for _ in range(card.iterations(3)):
                ours.iteration.run()
            yield {"case": name, "ok": True}
        except RuntimeError as error:
            yield {"case": name, "ok": False, "why": _first_line(error)}
        finally:
            if before is not None:
                torch.cuda.set_sync_debug_mode(before)


def gpu_tests(card: Card) -> Iterator[Row]:
    """The tests that are marked gpu, file by file; a rehearsal only collects them."""
    files = [str(path) for path in sorted(ROOT.glob("tests/**/test_*.py")) if "pytest.mark.gpu" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        [*command, *(["--collect-only"] if card.rehearsing else [])],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield {"case": line.split(" - ")[0], "ok": False, "why": line.partition(" - ")[2]}
    counts = {kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|skipped|errors?)", lines[-1])}
    yield {"case": "all", "ok": done.returncode == 0, **counts, "told": lines[-1]}


def every_preset(card: Card) -> Iterator[Row]:
    """Milliseconds an iteration of each preset at its real widths, in each precision, deterministic or not."""
    ways = tuple(product(("tf32", "bf16", "fp16"), (False, True)))
    for name in presets():
        for precision, deterministic in (("fp32", True),) if card.rehearsing else ways:
            build = partial(_ours, card, card.preset, name, precision=precision, deterministic=deterministic)
            yield {"case": f"{name} {precision}{' deterministic' if deterministic else ''}"} | _outcome(
                _pace, card, build
            )


def launches(card: Card) -> Iterator[Row]:
    """Kernels an iteration and the share of the time in which the device computes, eager and as a graph."""
    for family, graph in product(FAMILIES, (False,) if card.rehearsing else (False, True)):
        build = partial(_ours, card, card.family, family, precision="bf16", cuda_graph=graph)
        yield {"case": f"{family}{' graph' if graph else ''}"} | _outcome(_profiled, card, build)


def speed(card: Card, family: str) -> Iterator[Row]:
    """Images/s of the plain loop and of ours in each mode and batch size; memory, TFLOP/s and share of the peak."""
    for batch_size in BATCH_SIZES if not card.rehearsing else (4,):
        sized = card.family(family, batch_size=batch_size)
        flops = flops_of(card.ours(sized))
        contenders: dict[str, Callable[[], Contender]] = {
            "plain fp32": partial(card.plain, sized, bf16=False),
            "plain bf16 autocast": partial(card.plain, sized, bf16=True),
        }
        for mode, train in MODES.items():
            possible = mode in REHEARSED if card.rehearsing else not train.get("compile") or batch_size == COMPILED_AT
            if possible:
                contenders[mode] = partial(_ours, card, card.family, family, batch_size=batch_size, **train)
        for name, build in contenders.items():
            found = _outcome(_pace, card, build)
            if "ms" in found:
                per_s = 1000 / found["ms"]
                found |= {"images/s": round(batch_size * per_s), **_of_peak(flops * per_s / 1e12)}
            yield {"case": f"batch {batch_size}, {name}"} | found


def feeding(card: Card) -> Iterator[Row]:
    """DCGAN with the whole split in the device's memory, and with pinned batches read ahead."""
    for name, share in (("resident", module.RESIDENT_SHARE), ("pinned reader", 0.0)):
        build = partial(_ours, card, card.family, "dcgan", precision="bf16", batch_size=256)
        with patch.object(module, "RESIDENT_SHARE", share):
            yield {"case": name} | _outcome(_pace, card, build)


def inception(card: Card) -> Iterator[Row]:
    """Images/s of the features that FID is of, with random weights."""
    from ganlib.metrics.extractors.inception import untrained_inception  # takes seconds, and no other check needs it

    extractor = untrained_inception("random", 0, card.device)
    count = 4 if card.rehearsing else 2048
    images = (torch.rand(count, 32, 32, 3) * 255).to(torch.uint8).numpy()
    extractor.extract(images[:64])
    seconds = elapsed(lambda: extractor.extract(images), card.device)  # type: ignore[arg-type]
    yield {"case": "32 x 32", "images/s": round(count / seconds)}


# The cheapest first: what ten minutes do not suffice for is at the end.
CHECKS = {
    "waiting": Check("No waiting for the device between log points", waiting, 60),
    "equal": Check("Eager, graphed and resumed trainings are equal bit for bit", equal_runs, 60),
    "penalties": Check("Penalties and their gradients against float64", penalties_in_precisions, 30),
    "inception": Check("Inception", inception, 40),
    "feeding": Check("Where the images lie", feeding, 30),
    "launches": Check("Kernels and busy share", launches, 50),
    "tests": Check("Tests marked gpu", gpu_tests, 150),
    **{f"speed {family}": Check(f"Speed: {family}", partial(speed, family=family), 100) for family in FAMILIES},
    "presets": Check("Every preset", every_preset, 180),
}


def send_rows(check: str, rehearsing: bool, receiver: Connection) -> None:
    """Run one check and send each row as it comes."""
    for row in CHECKS[check].run(Card(rehearsing)):
        receiver.send(row)


def _ours(card: Card, configured: Callable[..., RunConfig], name: str, **train: Any) -> Ours:
    return card.ours(configured(name, **train))


def _outcome(measure: Callable[[Card, Any], Row], card: Card, build: Callable[[], Contender]) -> Row:
    """What is measured of it, or why it is not: a finding too."""
    try:
        return measure(card, build())
    except Exception as error:
        return {"ok": False, "why": f"{type(error).__name__}: {_first_line(error)}"}


def _pace(card: Card, contender: Contender) -> Row:
    """Milliseconds an iteration and the peak of the device's memory."""
    on_gpu = card.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    contender.run(card.iterations(WARM_UP_ITERATIONS))
    once = elapsed(lambda: contender.run(1), card.device)
    count = max(1, round(card.slot_s / once))
    seconds = elapsed(lambda: contender.run(count), card.device) / count
    memory = {"peak MiB": torch.cuda.max_memory_allocated() >> 20} if on_gpu else {}
    return {"ms": round(1000 * seconds, 3), **memory}


def _profiled(card: Card, ours: Ours) -> Row:
    iterations, kind = card.iterations(5), card.device.type.upper()
    ours.run(card.iterations(WARM_UP_ITERATIONS))
    seconds = elapsed(lambda: ours.run(iterations), card.device)
    with profile(activities=[getattr(ProfilerActivity, kind)]) as profiler:
        ours.run(iterations)
    events = profiler.events() or []
    kernels = [each for each in events if each.device_type.name == kind]
    busy_us = sum(each.self_cpu_time_total if card.rehearsing else each.self_device_time_total for each in kernels)
    return {
        "kernels": round(len(kernels) / iterations),
        "busy share": round(busy_us / 1e6 / seconds, 3),
        "ms": round(1000 * seconds / iterations, 3),
    }


def _of_peak(tflops: float) -> Row:
    """TFLOP/s, and the share of the card's dense bf16 peak where it is known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for card, value in PEAK_TFLOPS.items() if card in name), None)
    return {"TFLOP/s": round(tflops, 3)} | ({} if peak is None else {"of peak": round(tflops / peak, 3)})


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
