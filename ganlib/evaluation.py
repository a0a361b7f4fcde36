"""How good a generator is, on which features, against which images."""

import hashlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ganlib.metrics
from ganlib.config import EvaluateOptions
from ganlib.datasets.packed import PackedData, Split
from ganlib.errors import UserError
from ganlib.metrics.cache import cached_features
from ganlib.metrics.checks import check_counts, check_generated, check_real
from ganlib.metrics.extractors import Extractor, Features
from ganlib.metrics.fidelity import measure, spread
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, beside, image_grid
from ganlib.source_digest import source_digest


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what, and how widely it spreads over independent draws.

    `measured_on` is a digest of extractor, reference split, counts and metric code:
    two scores compare only where it is equal.
    """

    measured_on: str
    metrics: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Everything, each metric with extractor, weights, counts and reference split."""
        return {"measured_on": self.measured_on, "metrics": self.metrics}

    def figures(self) -> dict[str, dict[str, float]]:
        """Numbers alone, grouped by extractor: {"domain": {"fid": …, "fid_std": …}}."""
        grouped: dict[str, dict[str, float]] = {}
        for name, record in self.metrics.items():
            extractor, metric = name.split("/")
            group = grouped.setdefault(extractor, {})
            group[metric] = record["value"]
            if record["std"] is not None:
                group[f"{metric}_std"] = record["std"]
        return grouped


def evaluate(
    generator: ImageGenerator,
    data: PackedData,
    extractor: Extractor,
    options: EvaluateOptions,
    *,
    cache: Path,
    notify: Callable[[str], None],
) -> Evaluation:
    """Measure `repeats` independent draws of the generator against the held-out split.

    `fid_floor` is the Fréchet distance of the real training split to the held-out one.

    Raises:
        UserError: image formats differ, too few images, or features of which no statistic can be made.
    """
    check_comparable(generator, data)
    check_counts(options, len(data.test))
    torch.set_num_threads(options.threads)
    real = split_features(extractor, data.test, cache, notify)
    train = split_features(extractor, data.train, cache, notify)
    check_real(real, data.test.name)
    draws = [_measure_draw(generator, extractor, real, options, repeat) for repeat in range(options.repeats)]
    common = {
        "extractor": extractor.name,
        "weights_sha256": extractor.weights_sha256,
        "reference": data.test.name,
        "reference_digest": data.test.digest,
        "reference_count": len(data.test),
        "resizer": data.manifest.resizer,
    }
    if data.image.channels == 4:
        common["alpha"] = extractor.alpha
    instrument = {
        "code": source_digest(ganlib.metrics, sys.modules[__name__]),
        "torch_fidelity": importlib.metadata.version("torch-fidelity"),
    }
    everything = sorted((common | options.model_dump() | instrument).items())
    measured_on = hashlib.sha256(repr(everything).encode()).hexdigest()
    generated = {"count": options.samples, "repeats": options.repeats}
    metrics: dict[str, dict[str, Any]] = {
        f"{extractor.name}/{name}": {"value": mean, "std": deviation, **generated, **common}
        for name, (mean, deviation) in spread(draws).items()
    }
    floor = frechet_distance(FeatureStatistics.of(train.values), FeatureStatistics.of(real.values))
    metrics[f"{extractor.name}/fid_floor"] = {
        "value": floor, "std": None, "count": len(data.train), "repeats": 1, **common
    }  # fmt: skip
    return Evaluation(measured_on, metrics)


def check_comparable(generator: ImageGenerator, data: PackedData) -> None:
    """Refuse a generator of other images than the reference.

    Raises:
        UserError: size, channels or (for a conditional generator) classes differ.
    """
    for name in ("size", "channels"):
        mine, theirs = getattr(generator.image, name), getattr(data.image, name)
        if mine != theirs:
            raise UserError(f"generator makes images of {name} {mine}, the reference has {theirs}; they do not compare")
    if generator.conditional and generator.image.classes != data.image.classes:
        raise UserError("generator and reference have different classes; they do not compare")


def sample_grid(generator: ImageGenerator, *, seed: int, rows: int, columns: int, scale: int) -> Images:
    """A grid of samples; with as many columns as classes, a column a class."""
    return image_grid(generator.sample(seed=seed, count=rows * columns), columns=columns, scale=scale)


def real_beside_generated(
    generator: ImageGenerator, data: PackedData, *, seed: int, rows: int, columns: int, scale: int
) -> Images:
    """Held-out real images on the left, generated ones on the right, of the same classes at the same places."""
    chosen = _indices_by_class(data.test, rows * columns, seed)
    labels = None if data.test.labels is None else data.test.labels[chosen].tolist()
    if generator.conditional:
        generated = generator.sample(seed=seed, labels=labels)
    else:
        generated = generator.sample(seed=seed, count=len(chosen))
    left, right = (image_grid(i, columns=columns, scale=scale) for i in (data.test.take(chosen), generated))
    return beside(left, right, gap=4 * scale)


def _indices_by_class(split: Split, count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    order = np.random.default_rng(seed).permutation(len(split))
    if split.labels is None:
        return np.resize(order, count)
    classes = [order[split.labels[order] == label] for label in np.unique(split.labels)]
    return np.array(
        [classes[i % len(classes)][(i // len(classes)) % len(classes[i % len(classes)])] for i in range(count)]
    )


def _measure_draw(
    generator: ImageGenerator, extractor: Extractor, real: Features, options: EvaluateOptions, repeat: int
) -> dict[str, float]:
    seed = int(np.random.SeedSequence([options.seed, repeat]).generate_state(1)[0])
    images = generator.sample(seed=seed, count=options.samples, batch_size=options.batch_size)
    generated = extractor.extract_all(_pieces(images, options.batch_size))
    check_generated(generated)
    labels = None
    if generator.conditional and extractor.name == "domain":
        labels = balanced_labels(options.samples, generator.image.num_classes)
    return measure(generated, real, labels, options)


def split_features(extractor: Extractor, split: Split, cache: Path, notify: Callable[[str], None]) -> Features:
    """The features of a whole split, from the cache where they are known."""
    return cached_features(
        extractor, digest=split.digest, count=len(split), take=split.take, folder=cache, notify=notify
    )


def _pieces(images: Images, size: int) -> Iterator[Images]:
    return (images[start : start + size] for start in range(0, len(images), size))
