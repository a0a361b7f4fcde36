"""PSNR that a translator gains over bicubic enlargement by two: `python -m benchmarks.superresolve SOURCE`.

SOURCE are RGB images of 32 x 32 pixels, such as CIFAR-10 as files. The networks and losses are those of the preset
digits-superresolve; each seed has a training of its own, and all are measured on the same held-out images.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from benchmarks.children import ROOT
from benchmarks.machine import machine_facts
from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.datasets.packing.pack import pack
from ganlib.degradations import inputs_of
from ganlib.metrics.reconstruction import psnr
from ganlib.sampling import render, seeded_latents, to_uint8
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.iteration import Iteration
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from pipelines.presets import preset_text

RESULT = ROOT / "benchmarks" / "results" / "superresolve.md"
MOST_HELD_OUT = 2000
CHUNK = 250
EXPLANATION = """\
Each seed: {images} images of {train} shown to the critic, on one thread; then PSNR of {test} held-out images from a
quarter of their pixels, the averaged generator beside bicubic enlargement. The difference is of pairs, with its
standard error over images. Seconds are of computing."""


def config_of(source: str, images: int, seed: int) -> RunConfig:
    """The preset at 32 pixels, by two, in colour."""
    values: dict[str, Any] = yaml.safe_load(preset_text(ROOT / "presets/digits-superresolve.yaml"))
    values["data"] |= {
        "source": source,
        "image_size": 32,
        "channels": 3,
        "inputs": {"kind": "superresolve", "factor": 2},
    }
    values["train"] |= {"seed": seed, "total_images": images, "ema_half_life_images": images // 16}
    return RunConfig.model_validate(values)


def gain(config: RunConfig, data: PackedData) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """PSNR in dB of translations and of bicubic enlargements of held-out images [N], and seconds of training."""
    recipe, device = Recipe.of(config, data.image), torch.device("cpu")
    state = initial_state(config, data.image, device)
    iteration = Iteration(state, recipe, SplitFeed(data.train, recipe, ALONE, device), ALONE)
    began = time.process_time()
    while state.seen_images < config.train.total_images:
        iteration.run()
    seconds = time.process_time() - began
    rows = np.linspace(0, len(data.test) - 1, min(MOST_HELD_OUT, len(data.test))).astype(np.int64)
    assert config.data.inputs is not None
    wanted, given = data.test.take(rows), inputs_of(data.test, rows, config.data.inputs, seed=0)
    latents = seeded_latents(len(rows), state.ema.latent_dim, 0)
    made = render(state.ema, latents, given, batch_size=CHUNK)
    return psnr(wanted, made), psnr(wanted, to_uint8(given)), seconds


def main() -> None:
    """Train and measure each seed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--images", type=int, default=6400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine_facts("torch", "numpy", threads=1, device="cpu")
    rows, gains = [], []
    with tempfile.TemporaryDirectory() as folder:
        first = config_of(arguments.source, arguments.images, 0)
        pack(first.data, first.preprocess, Path(folder, "packed"), scratch=Path(folder, "scratch"))
        data = open_packed(Path(folder, "packed"))
        for seed in arguments.seeds:
            made, bicubic, seconds = gain(config_of(arguments.source, arguments.images, seed), data)
            apart = made - bicubic
            gains.append(float(apart.mean()))
            error = float(apart.std(ddof=1)) / len(apart) ** 0.5
            rows.append(
                f"| {seed} | {made.mean():.2f} | {bicubic.mean():.2f} | {gains[-1]:+.2f} ± {error:.2f} "
                f"| {(apart > 0).mean():.0%} | {seconds:.0f} |"
            )
            print(rows[-1], flush=True)
    lines = [
        f"# Super-resolution by two on {facts['kind']}, {facts['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date")) + ".",
        "",
        EXPLANATION.format(images=arguments.images, train=len(data.train), test=min(MOST_HELD_OUT, len(data.test))),
        "",
        "| seed | translator, dB | bicubic, dB | gain, dB | images that gain | s |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    if len(gains) > 1:
        spread = np.std(gains, ddof=1)
        lines += ["", f"Mean gain of the seeds: {np.mean(gains):+.2f} dB, standard deviation {spread:.2f}."]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(arguments.output)


if __name__ == "__main__":
    main()
