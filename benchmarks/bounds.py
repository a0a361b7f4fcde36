"""How much memory all metrics together take beyond the features they are made of."""

import resource
import time
from collections.abc import Callable
from typing import Any, get_args

import psutil
import torch

from ganlib.config import GateFigure
from ganlib.metrics.extractors import Features
from ganlib.metrics.frechet import FrechetReference
from ganlib.metrics.frechet_parts import class_distances, extrapolate_frechet
from ganlib.metrics.intervals import Confidence, Sample, intervals
from ganlib.metrics.memorisation import TrainingSet, measure_memorisation

CLASSES = 10
CONFIDENCE = Confidence(level=0.95, neighbours=5, splits=60, seed=0)
POINTS = 10


def all_metrics(images: int, dimensions: int) -> dict[str, Any]:
    """Every interval, FID's extrapolation, each class's FID and memorisation, on made features of so many images.

    Generated, held-out and training images are as many; peaks are of resident memory, in MiB.
    """
    generated, held_out, training = (_sample(images, dimensions, seed) for seed in range(3))
    features_mib = sum(
        each.features.values.nbytes + each.features.logits.nbytes for each in (generated, held_out, training)
    )
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    seconds: dict[str, float] = {}
    steps: dict[str, Callable[[], object]] = {
        "intervals": lambda: intervals(generated, held_out, get_args(GateFigure), CONFIDENCE),
        "extrapolation": lambda: _extrapolation(generated, held_out),
        "classes": lambda: _classes(generated, held_out),
        "memorisation": lambda: _memorisation(generated, held_out, training),
    }
    for name, step in steps.items():
        step()
        seconds[name] = time.perf_counter() - start - sum(seconds.values())
    return {
        "images": images,
        "dimensions": dimensions,
        "features_mib": features_mib / 2**20,
        "peak_beyond_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before / 2**20,
        "seconds": seconds,
    }


def _sample(images: int, dimensions: int, seed: int) -> Sample:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(images, dimensions, generator=draw)
    return Sample(
        Features(values.relu_(), torch.randn(images, CLASSES, generator=draw)),
        torch.arange(images) % CLASSES,
        stratified=False,
    )


def _extrapolation(generated: Sample, held_out: Sample) -> None:
    values = generated.features.values
    reference = FrechetReference.of(held_out.features.values)
    smallest = max(values.shape[1], len(values) // 10)
    extrapolate_frechet(values, reference, points=POINTS, smallest=smallest, seed=CONFIDENCE.seed)


def _classes(generated: Sample, held_out: Sample) -> None:
    assert generated.labels is not None
    assert held_out.labels is not None
    class_distances(
        generated.features.values, generated.labels, held_out.features.values, held_out.labels,
        names=[str(label) for label in range(CLASSES)], level=CONFIDENCE.level, seed=CONFIDENCE.seed,
    )  # fmt: skip


def _memorisation(generated: Sample, held_out: Sample, training: Sample) -> None:
    seen = TrainingSet.of(training.features.values)
    one, other, exact = (seen.closeness(side.features.values) for side in (generated, held_out, training))
    twins = other.distance == 0
    measure_memorisation(one, other, exact, twins=twins, level=CONFIDENCE.level, suspects=16, seed=CONFIDENCE.seed)
