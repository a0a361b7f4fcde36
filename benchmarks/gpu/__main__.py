"""Settle on a GPU what a CPU cannot: each check in a process of its own, the cheapest first, ten minutes at most.

A line of JSON for each finding, as it comes, and a table at the end, in benchmarks/results.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.card import ROOT
from benchmarks.gpu.checks import CHECKS, Row, send_rows
from benchmarks.gpu.table import render
from benchmarks.machine import machine_facts

TOTAL_S = 600.0
# Each check begins with the imports done and CUDA untouched.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["benchmarks.gpu.checks"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; 1 where one of them found something wrong, 2 where there is no GPU."""
    options = _parser().parse_args(arguments)
    if not options.rehearse and not torch.cuda.is_available():
        print("benchmarks.gpu: found no CUDA device; add --rehearse to try the script on the CPU", file=sys.stderr)
        return 2
    end, found = time.monotonic() + TOTAL_S * (3 if options.rehearse else 1), {}  # CPUs are shared
    name = "gpu-rehearsal" if options.rehearse else "gpu"
    options.results.mkdir(parents=True, exist_ok=True)
    with (options.results / f"{name}.jsonl").open("w", encoding="utf-8") as lines:
        for check in options.only or CHECKS:
            print(f"{check} …", file=sys.stderr, flush=True)
            found[check] = _in_a_child(check, options.rehearse, end - time.monotonic())
            lines.writelines(json.dumps({"check": check} | row) + "\n" for row in found[check])
            lines.flush()
    table = render(_machine(options.rehearse), found)
    (options.results / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)
    return int(any(not row.get("ok", True) for rows in found.values() for row in rows))


def _in_a_child(check: str, rehearsing: bool, left_s: float) -> list[Row]:
    """The rows of a check, and one that tells how it ended where that was not well."""
    limit_s = left_s if rehearsing else min(CHECKS[check].limit_s, left_s)
    if limit_s <= 0:
        return [{"case": "not begun", "ok": False, "why": "the ten minutes are over"}]
    rows, end = [], time.monotonic() + limit_s
    reader, writer = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=send_rows, args=(check, rehearsing, writer))
    child.start()
    writer.close()
    try:
        while reader.poll(max(0.0, end - time.monotonic())):
            rows.append(reader.recv())
    except EOFError:
        child.join()
        ended = f"exit code {child.exitcode}"
    else:
        child.kill()
        child.join()
        ended = f"not done after {limit_s:.0f} s"
    return rows if child.exitcode == 0 else [*rows, {"case": "not finished", "ok": False, "why": ended}]


def _machine(rehearsing: bool) -> dict[str, Any]:
    facts = machine_facts("torch")
    return facts if rehearsing else facts | {"kind": torch.cuda.get_device_name()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny networks: does the script run?")
    parser.add_argument("--only", choices=list(CHECKS), action="append", help="may be repeated; default: all")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
