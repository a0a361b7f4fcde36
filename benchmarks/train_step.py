"""How fast a training step is, beside the plain loop that public examples write: `make bench`.

Each family is raced in a process of its own; memory, OpenMP settings and the
compiler are measured in further ones.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.contenders import Setting
from benchmarks.machine import machine_facts
from benchmarks.measuring import CLOCKS
from benchmarks.pictures import draw, pack_folder
from benchmarks.recipes import FAMILIES
from benchmarks.report import render

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = 2500
SECTIONS = ("race", "wins", "compile", "memory", "shares", "contention", "operations")
WINS = (
    "memory", "memory+layers", "memory+channels_last", "memory+fused", "memory+freeze", "memory+joint", "memory+bf16",
    "memory+layers+channels_last+fused+freeze+joint", "memory+layers+channels_last+fused+freeze+joint+bf16",
    "ours", "ours+contiguous", "ours+bf16", "ours+contiguous+bf16",
)  # fmt: skip
COMPILED = ("memory", "memory+compile", "ours", "ours+compile")
ON_GPU = (
    "folder", "folder+bf16", "memory", "memory+bf16", "ours", "ours+tf32", "ours+bf16", "ours+bf16+compile",
    "ours+bf16+graph",
)  # fmt: skip
# (threads, environment) by what the report calls it.
CONTENTION = {
    "1 thread": (1, {}),
    "2 threads": (2, {}),
    "2 threads, GOMP_SPINCOUNT=10000": (2, {"GOMP_SPINCOUNT": "10000"}),
    "2 threads, OMP_WAIT_POLICY=passive": (2, {"OMP_WAIT_POLICY": "passive"}),
}
# Dense bf16 TFLOP/s by what the card's name contains; the makers' data sheets.
PEAK_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "B200": 2250.0,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.clock == "cpu" and (options.threads != 1 or options.device != "cpu"):
        parser.error("--clock cpu: counts waiting threads as computing; add --threads 1 and --device cpu")
    with tempfile.TemporaryDirectory() as scratch:
        images = options.data or Path(scratch) / "images"
        packed = Path(scratch) / "packed"
        if options.data is None:
            draw(images, PICTURES)
        pack_folder(images.resolve(), packed, test_share=0.02, split="hash")
        for results in measure(options, images.resolve(), packed):
            _write(results, options)
    print(render(results))


def _write(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Results and report as far as they have come."""
    name = f"train_step-{'cuda' if options.device.startswith('cuda') else 'cpu'}{'-quick' if options.quick else ''}"
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.results / f"{name}.md").write_text(render(results), encoding="utf-8")


def measure(options: argparse.Namespace, images: Path, packed: Path) -> Iterator[dict[str, Any]]:
    """All the sections that are asked for; what there is so far, after every family."""
    sections = options.only or (("race", "shares") if options.quick else SECTIONS)
    settings = {
        name: Setting(
            family=name,
            scale=options.scale or ("cuda" if options.device.startswith("cuda") else "cpu"),
            device=options.device,
            threads=options.threads,
            images=images,
            packed=packed,
        )
        for name in options.family or FAMILIES
    }
    results: dict[str, Any] = {"machine": _machine(options), "families": {}}
    for name, setting in settings.items():
        _say(f"{name} …")
        results["families"][name] = _family(setting, sections, options)
        yield results
    if "contention" in sections and options.device == "cpu":
        results["contention"] = {
            title: _child(
                {"measure": "contention", "rounds": 3, "slot_s": 1.5},
                [Setting(**{**vars(setting), "threads": threads}) for setting in settings.values()],
                environment,
            )
            for title, (threads, environment) in CONTENTION.items()
        }
        yield results


def _family(setting: Setting, sections: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    rounds, slot_s = (3, 0.5) if options.quick else (options.rounds, 1.5)
    on_gpu = setting.device.startswith("cuda")
    family = FAMILIES[setting.family]
    racing = [*(ON_GPU if on_gpu else ("folder", "memory", "ours")), "arithmetic"]
    racing += ["memory+fresh", "ours+fresh"] if family.reuses_fakes else []
    racing += ["ours+lazy"] if family.gamma > 0 else []
    found: dict[str, Any] = {}

    def race(names: Sequence[str], bases: Sequence[str], environment: dict[str, str], rounds: int) -> Any:
        task = {"measure": "race", "contenders": names, "bases": bases, "rounds": rounds, "slot_s": slot_s}
        task["clock"] = options.clock
        return _child(task, [setting], environment)

    if "race" in sections:
        found["race"] = race(racing, ("folder", "memory", "ours"), {}, rounds)
    if "wins" in sections and not on_gpu:
        found["wins"] = race(WINS, ("memory",), {}, max(3, rounds - 2))
    if "compile" in sections and not on_gpu:
        with tempfile.TemporaryDirectory() as cache:
            found["compile"] = race(COMPILED, ("memory",), {"TORCHINDUCTOR_CACHE_DIR": cache}, 3)
    if "memory" in sections:
        found["memory"] = {
            name: _child({"measure": "memory", "contender": name}, [setting]) for name in racing if "arith" not in name
        }
    if "shares" in sections:
        found["shares"] = _child({"measure": "shares"}, [setting])
    if "operations" in sections and on_gpu:
        found["peak_tflops"] = next((peak for card, peak in PEAK_TFLOPS.items() if card in _gpu(setting.device)), None)
        counted = {name: _child({"measure": "operations", "contender": name}, [setting]) for name in ("folder", "ours")}
        found["operations"] = {name: counted["ours" if name.startswith("ours") else "folder"] for name in racing}
    return found


def _child(task: dict[str, Any], settings: Sequence[Setting], environment: dict[str, str] | None = None) -> Any:
    """One task in a fresh process."""
    plain = [{**asdict(each), "images": str(each.images), "packed": str(each.packed)} for each in settings]
    what = [sys.executable, "-m", "benchmarks.worker", json.dumps({**task, "settings": plain})]
    done = subprocess.run(
        what, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    data = "a folder" if options.data else f"{PICTURES} drawn PNG files"
    facts = machine_facts("torch", threads=options.threads, clock=options.clock, data=data)
    return facts | {"kind": _gpu(options.device)} if options.device.startswith("cuda") else facts


def _gpu(device: str) -> str:
    return torch.cuda.get_device_name(device)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds of the race and the shares alone, in a minute")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every contender; default: all cores")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: where others keep the machine busy; 1 thread"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", type=Path, help="class folders of images; default: drawn ones")
    parser.add_argument("--family", choices=list(FAMILIES), action="append", help="may be repeated; default: all")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated; default: all")
    parser.add_argument("--scale", choices=("toy", "cpu", "cuda"), help="size of the networks; default: the device's")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
