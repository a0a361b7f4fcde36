"""Seconds and memory of translating a large image in tiles: `python -m benchmarks.translate`.

A new translator of the preset digits-superresolve with three channels sharpens 2048 x 2048 pixels of noise; each tile
size has a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.children import ROOT
from benchmarks.machine import machine_facts
from ganlib.config import DeblurOptions, ImageSpec
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from ganlib.translating import translate_image
from pipelines.presets import load_parameters

RESULT = ROOT / "benchmarks" / "results" / "translate.md"
SIDE_PX = 2048
TILES_PX = (128, 256, 512, 1024, SIDE_PX)
KIB_PER_MIB = 1024
EXPLANATION = """\
Network of `digits-superresolve` with three channels. Memory is what the translation needs beyond what the process had.
Tiles overlap by as much as the network reaches, which small tiles pay for. The last column is how far the mean value
is from that of the whole image at once, in grey levels."""


def measure(tile_px: int) -> dict[str, float]:
    """Seconds of one translation, MiB that it needed beyond what was there before, and a checksum of its result."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config, image = (
        load_parameters(ROOT / "presets/digits-superresolve.yaml"),
        ImageSpec(size=32, channels=3, classes=()),
    )
    network = build_generator(config.network, image)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    inputs = DeblurOptions(kind="deblur", sigma_px=1.0)
    translator = ImageGenerator(network, config.network, image, {"seen_images": 0}, inputs)
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    translate_image(translator, pixels[:64, :64], seed=0)
    before_kib, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    made = translate_image(translator, pixels, seed=0, tile_px=tile_px)
    seconds = time.perf_counter() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "mib": (peak_kib - before_kib) / KIB_PER_MIB, "sum": float(made.sum())}


def main() -> None:
    """Measure all tile sizes and write the table, or one of them and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--tile-px", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tile_px is not None:
        print(json.dumps(measure(arguments.tile_px)))
        return
    facts = machine_facts("torch", "numpy", threads=1, device="cpu")
    lines = [
        f"# Translating {SIDE_PX} × {SIDE_PX} pixels on {facts['kind']}, {facts['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date")) + ".",
        "",
        EXPLANATION,
        "",
        "| tile, pixels | s | megapixels/s | MiB | mean apart |",
        "| --- | --- | --- | --- | --- |",
    ]
    found = {}
    for tile_px in reversed(TILES_PX):
        command = [sys.executable, "-m", "benchmarks.translate", "--tile-px", str(tile_px)]
        found[tile_px] = json.loads(
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        )
        print(tile_px, found[tile_px], flush=True)
    whole = found[SIDE_PX]["sum"]
    for tile_px in TILES_PX:
        each = found[tile_px]
        apart, speed = abs(each["sum"] - whole) / SIDE_PX**2 / 3, SIDE_PX**2 / 1e6 / each["seconds"]
        name = "whole" if tile_px == SIDE_PX else str(tile_px)
        lines.append(f"| {name} | {each['seconds']:.1f} | {speed:.2f} | {each['mib']:.0f} | {apart:.1g} |")
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(arguments.output)


if __name__ == "__main__":
    main()
