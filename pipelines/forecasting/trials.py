"""Short trainings on nested parts of the pictures, each measured on the held-out split."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import NEIGHBOURHOOD_IMAGES, RunConfig
from ganlib.datasets.packed.reading import PackedData, Split
from ganlib.errors import UserError
from ganlib.evaluation.copying import plant_copies
from ganlib.metrics.estimates import Interval
from ganlib.metrics.extractors import Extractor, Features
from ganlib.metrics.frechet import FrechetReference
from ganlib.metrics.frechet_parts import class_distances
from ganlib.metrics.memorisation import TrainingSet, measure_memorisation
from ganlib.metrics.neighbourhood import Balls, measure_neighbourhood
from ganlib.sampling import proportional_labels, render, seeded_latents
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.graph import iteration_of
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from pipelines.advice.planning import HALF_LIFE_SHARE

REPEATS = 2
# Shares of the pictures and of the length that are tried: one is changed while the other is whole.
CELLS = ((0.25, 1.0), (0.5, 1.0), (1.0, 1.0), (1.0, 0.25), (1.0, 0.5))
MOST_SAMPLES = 2000
WHOLE_TRAININGS = REPEATS * sum(length for _, length in CELLS)


@dataclass(frozen=True)
class Trial:
    """So many of the training pictures, shown so often in all, from a seed."""

    pictures: int
    images: int
    seed: int


@dataclass(frozen=True)
class Measured:
    """What a short training came to.

    Attributes:
        trial: what was done.
        distance: Fréchet distance to the held-out split.
        coverage: share of held-out pictures that have a generated one near.
        copies: share of generated pictures that are nearly copies, beyond what held-out ones are; None where too few
            pictures are held out or trained on to tell.
        classes: distance of each class; none without classes, or with too few pictures of each.
    """

    trial: Trial
    distance: float
    coverage: float
    copies: Interval | None
    classes: Mapping[str, float]


@dataclass(frozen=True)
class Judge:
    """The held-out and the training pictures as the training's own extractor sees them."""

    extractor: Extractor
    test: Features
    train: Features


def trials_of(train: Split, images: int, batch: int) -> Iterator[Trial]:
    """All short trainings, the longest of which shows so many images.

    Each has a seed of its own: what a seed does to all sizes alike would be no part of what differs around the trend.
    """
    for seed, (share, length) in enumerate(REPEATS * CELLS):
        yield Trial(len(rows_of(train, share)), max(1, round(images * length / batch)) * batch, seed)


def samples_of(config: RunConfig) -> int:
    """How many images of each generator are measured."""
    return min(config.evaluate.samples, MOST_SAMPLES)


def rows_of(train: Split, share: float) -> NDArray[np.int64]:
    """A part of each class, int64 [n], sorted; the part of a smaller share lies in that of a larger one."""
    labels = np.zeros(len(train), np.int64) if train.labels is None else train.labels
    order = np.random.default_rng(0).permutation(len(train))
    parts = [
        members[: math.ceil(share * len(members))]
        for each in np.unique(labels)
        if len(members := order[labels[order] == each])
    ]
    return np.sort(np.concatenate(parts))


def run_trial(config: RunConfig, data: PackedData, judge: Judge, trial: Trial) -> Measured:
    """Train and measure.

    Raises:
        UserError: the training diverged.
    """
    rows = next(found for share, _ in CELLS if len(found := rows_of(data.train, share)) == trial.pictures)
    state = _trained(config, data, data.train.part(rows), trial)
    count, real = samples_of(config), data.test
    labels = None
    if config.network.conditional:
        assert real.labels is not None
        labels = proportional_labels(count, np.bincount(real.labels, minlength=data.image.num_classes))
    latents = seeded_latents(count, state.ema.latent_dim, trial.seed)
    images = render(state.ema, latents, labels, batch_size=config.evaluate.batch_size)
    made = judge.extractor.extract(images)
    if not bool(torch.isfinite(made.values).all()):
        raise UserError(f"short training of {trial.pictures} pictures: diverged; lower train.*.learning_rate")
    neighbours = config.evaluate.neighbours
    sides = (
        Balls.of(side, neighbours, side=name)
        for side, name in ((made.values, "generated"), (judge.test.values, "held-out"))
    )
    return Measured(
        trial,
        FrechetReference.of(judge.test.values).distance_to(made.values),
        measure_neighbourhood(*sides).coverage,
        _copies(config, data, judge, made, rows),
        _classes(config, data, judge, made, labels),
    )


def _trained(config: RunConfig, data: PackedData, split: Split, trial: Trial) -> TrainState:
    half_life = max(config.train.batch_size, round(HALF_LIFE_SHARE * trial.images))
    changes = {"total_images": trial.images, "seed": trial.seed, "ema_half_life_images": half_life, "devices": 1}
    options = config.train.model_copy(update={**changes, "compile": False, "cuda_graph": False})
    config = config.model_copy(update={"train": options})
    device = prepare_device(options)
    state, recipe = initial_state(config, data.image, device), Recipe.of(config, data.image)
    iteration = iteration_of(state, recipe, SplitFeed(split, recipe, ALONE, device), ALONE)
    while state.seen_images < trial.images:
        iteration.run()
    return state


def _copies(
    config: RunConfig, data: PackedData, judge: Judge, made: Features, rows: NDArray[np.int64]
) -> Interval | None:
    if min(len(rows), len(data.test), len(made)) < NEIGHBOURHOOD_IMAGES:
        return None
    options, known = config.evaluate, TrainingSet.of(judge.train.values[torch.from_numpy(rows)])
    planted = judge.extractor.extract(plant_copies(data.train, rows, seed=options.seed))
    seen = (known.closeness(side.values) for side in (made, judge.test, planted))
    twins = np.zeros(len(data.test), np.bool_)
    return measure_memorisation(*seen, twins=twins, level=options.confidence, suspects=0, seed=options.seed).share


def _classes(
    config: RunConfig, data: PackedData, judge: Judge, made: Features, labels: torch.Tensor | None
) -> dict[str, float]:
    if labels is None:
        return {}
    assert data.test.labels is not None
    sides = (made.values, labels, judge.test.values, torch.from_numpy(data.test.labels.copy()))
    level, seed = config.evaluate.confidence, config.evaluate.seed
    try:
        found = class_distances(*sides, names=data.image.classes, level=level, seed=seed)
    except UserError:  # too few of every class
        return {}
    return {each.name: each.interval.estimate for each in found.worst_first}
