"""How well images are found in a latent space, against seconds an image: `python -m benchmarks.reconstruct`.

Run in a project after `gan repro`: it reads the generator, its critic, the extractor and the packed data. Where the
generator has no encoder, one is trained as `ENCODER` says. Seconds are those that the process itself computed.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.children import ROOT
from benchmarks.machine import machine_facts
from ganlib.config import EncoderOptions, ReconstructionOptions, load_config
from ganlib.datasets.packed.reading import open_packed
from ganlib.events import ignore
from ganlib.inversion.encoder import train_encoder
from ganlib.inversion.projection import encoded, reconstruct
from ganlib.metrics.extractors import Extractor
from ganlib.metrics.reconstruction import psnr, ssim
from ganlib.networks.encoder import Encoder
from ganlib.packaging import ImageGenerator, load_critic, load_encoder
from ganlib.sampling import Images, balanced_labels, render, seeded_latents
from pipelines import paths
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.looking import project_extractor

RESULT = ROOT / "benchmarks" / "results" / "reconstruct.md"
ENCODER = EncoderOptions(total_images=64_000, batch_size=64, learning_rate=0.002, pixel_weight=10.0, feature_weight=0.0)
IMAGES = 100
SEARCH_SEED, SAMPLE_SEED = 0, 777
FOUND = 0.1  # of the mean distance between samples
EXPLANATION = f"""\
{IMAGES} samples of the generator itself and {IMAGES} held-out images, classes given. Distances are of domain features,
over the mean distance between samples; `found` are images within {FOUND:.0%} of it. `k × n` is k searches an image of n
steps each; with the encoder, one of them starts at its latents. Seconds are of computing, an image in batches of the
size in `evaluate.reconstruction`, all else as there. PSNR, SSIM and distance are means."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for: `images` uint8 [N, H, W, C] and `labels` [N], None of an unconditional generator."""

    images: Images
    labels: Tensor | None


def contenders(options: ReconstructionOptions) -> Iterator[tuple[str, ReconstructionOptions, bool]]:
    """(name, options, whether the encoder takes part)."""
    yield "encoder", encoded(options), True
    for aided, searches in ((False, ((1, 200), (4, 50), (4, 200))), (True, ((1, 50), (1, 200), (4, 200)))):
        for starts, steps in searches:
            name = f"{'encoder + ' if aided else ''}optimisation, {starts} × {steps}"
            yield name, options.model_copy(update={"starts": starts, "steps": steps}), aided


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULT)
    output = parser.parse_args().output
    config = load_config(paths.PARAMS)
    device = prepare_evaluation(config.evaluate)
    generator = ImageGenerator.load(paths.GENERATOR, str(device))
    encoder, training = _encoder(generator, str(device))
    extractor = project_extractor(config.evaluate.extractor, config, device)
    own, held_out = _own(generator), _held_out(generator)
    unit = float(torch.pdist(extractor.extract(own.images).values.double()).mean())
    facts = machine_facts("torch", "numpy", threads=torch.get_num_threads(), device=str(device))
    lines = [
        f"# Reconstruction on {facts['kind']}, {facts['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date")) + f". {training}",
        "",
        EXPLANATION,
        "",
        "| way | s an image | found, own | PSNR, own | found, held-out | PSNR, held-out | SSIM, held-out "
        "| distance, held-out |",
        "|" + " --- |" * 8,
    ]
    for name, options, aided in contenders(config.evaluate.reconstruction):
        cells, seconds = [], 0.0
        for side in (own, held_out):
            began = time.process_time()
            found = reconstruct(
                generator,
                side.images,
                options,
                seed=SEARCH_SEED,
                labels=side.labels,
                encoder=encoder if aided else None,
                notify=print,
            )
            seconds += time.process_time() - began
            apart = _apart(extractor, side.images, found.images) / unit
            cells += [f"{(apart <= FOUND).mean():.0%}", f"{psnr(side.images, found.images).mean():.1f}"]
        cells += [f"{ssim(held_out.images, found.images).mean():.3f}", f"{apart.mean():.3f}"]
        lines.append(f"| {name} | {seconds / (2 * IMAGES):.3f} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(output)


def _encoder(generator: ImageGenerator, device: str) -> tuple[Encoder, str]:
    known = load_encoder(paths.GENERATOR, device)
    if known is not None:
        return known, "The encoder is the generator's own."
    critic = load_critic(paths.GENERATOR, device)
    began = time.process_time()
    found = train_encoder(generator, critic, ENCODER, seed=0, should_stop=lambda: False, on_event=ignore)
    seconds = time.process_time() - began
    return found, f"The encoder was shown {ENCODER.total_images} samples, in {seconds:.0f} s of computing."


def _own(generator: ImageGenerator) -> Wanted:
    labels = balanced_labels(IMAGES, generator.image.num_classes) if generator.conditional else None
    latents = seeded_latents(IMAGES, generator.network.latent_dim, SAMPLE_SEED)
    return Wanted(render(generator.generator, latents, labels, batch_size=IMAGES), labels)


def _held_out(generator: ImageGenerator) -> Wanted:
    split = open_packed(paths.PROCESSED).test
    rows = np.linspace(0, len(split) - 1, IMAGES).round().astype(np.int64)
    labels = None
    if generator.conditional and split.labels is not None:
        labels = torch.from_numpy(split.labels[rows].astype(np.int64))
    return Wanted(split.take(rows), labels)


def _apart(extractor: Extractor, one: Images, other: Images) -> NDArray[np.float64]:
    apart: NDArray[np.float64] = (
        (extractor.extract(one).values.double() - extractor.extract(other).values.double()).norm(dim=1).numpy()
    )
    return apart


if __name__ == "__main__":
    main()
