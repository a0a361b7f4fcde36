"""FID at infinitely many samples, and FID class by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.errors import UserError
from ganlib.metrics.estimates import Interval, TwoSampleEstimate, distance_interval, require, subset
from ganlib.metrics.frechet import ROWS, FeatureStatistics, FrechetReference
from ganlib.metrics.frechet_inference import estimate_frechet

# A class needs so many images of each side to be judged, and four for each direction it is judged in.
LEAST_IN_CLASS = 40
IMAGES_PER_DIRECTION = 4


@dataclass(frozen=True)
class Extrapolation:
    """FID at 1/N = 0 and the points of the line that leads there.

    The real side stays as it is, with the bias of its own size; `estimate_frechet` removes both sides'.
    """

    value: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


@dataclass(frozen=True)
class ClassDistance:
    """One class of the table.

    Attributes:
        name: of the class.
        generated, real: images of it on each side.
        fid: with all features, as usually reported; biased upwards at such sizes.
        directions: principal directions of the real features that the interval is for.
        interval: of the distance in these directions, free of bias: what classes are ranked by.
    """

    name: str
    generated: int
    real: int
    fid: float
    directions: int
    interval: Interval


@dataclass(frozen=True)
class ClassDistances:
    """Classes from the worst to the best, and those with too few images to be judged, by name."""

    worst_first: tuple[ClassDistance, ...]
    too_small: tuple[str, ...]


@dataclass(frozen=True)
class ClassView:
    """The classes that can be compared, in directions few enough for a class's images to have a covariance.

    A class seldom has as many images as there are features; then the bias of FID
    exceeds FID. So classes are compared in the leading principal directions of all
    real features, a quarter as many as the smallest class judged has images and
    at most D, the same for all classes. Smaller classes are not judged:
    pooling them would give a mixture no name.

    Attributes:
        judged: labels of the classes that both sides have enough images of.
        counts: images of each class, generated and real, [2, K].
        basis: the directions, [D, d].
    """

    judged: tuple[int, ...]
    counts: NDArray[np.int64]
    basis: torch.Tensor

    @classmethod
    def of(cls, labels: torch.Tensor, real: torch.Tensor, real_labels: torch.Tensor, classes: int) -> "ClassView":
        """Of generated images of these classes [N] beside real features [M, D] of these [M], all below `classes`.

        Raises:
            UserError: every class is too small.
        """
        counts = np.stack([np.bincount(side.numpy(), minlength=classes) for side in (labels, real_labels)])
        smaller = counts.min(axis=0)
        judged = np.flatnonzero(smaller >= LEAST_IN_CLASS)
        if len(judged) == 0:
            raise UserError(
                f"fid of each class: needs {LEAST_IN_CLASS} images of a class on both sides, found at most "
                f"{smaller.max()}; raise evaluate.samples or provide more held-out images"
            )
        directions = min(real.shape[1], int(smaller[judged].min()) // IMAGES_PER_DIRECTION)
        return cls(tuple(judged.tolist()), counts, torch.from_numpy(_leading_directions(real, directions)))

    def estimate(self, generated: torch.Tensor, real: torch.Tensor, *, seed: int) -> TwoSampleEstimate:
        """The distance of the images of one class, [n, D] and [m, D]; for the seed see `estimate_frechet`."""
        one, other = (_project(side, self.basis) for side in (generated, real))
        return estimate_frechet(one, other, seed=seed)


def extrapolate_frechet(
    generated: torch.Tensor,
    real: FrechetReference,
    *,
    points: int,
    smallest: int,
    seed: int,
    strata: torch.Tensor | None = None,
) -> Extrapolation:
    """FID of infinitely many generated samples (Chong & Forsyth 2020, section 4): a line through FID against 1/N.

    Args:
        generated: [N, D].
        real: the reference side.
        points: subset sizes evenly between `smallest` and N, 3 or more; the paper takes 15.
        smallest: at least D, below which covariances are singular and FID is no line; at most N / 2.
        seed: of the subsets.
        strata: class of each generated image, [N], where so many of each class were asked for: subsets keep the shares,
            or their classes by chance would be taken for bias.

    Raises:
        UserError: sizes that make no line.
    """
    count, dimensions = generated.shape
    if smallest < max(dimensions, 2):
        raise UserError(
            f"fid extrapolation: found a smallest subset of {smallest} for {dimensions} features; "
            f"expected {dimensions} or more: below, the distance is not linear in 1/size"
        )
    require("fid extrapolation", {"generated": count}, 2 * smallest, f"a line from {smallest} images on")
    assert points >= 3
    draw = np.random.default_rng(seed)
    sizes = [round(size) for size in np.linspace(smallest, count, points)]
    subsets = (np.sort(subset(count, size, strata, draw)) for size in sizes)
    distances = [real.distance_to(generated[torch.from_numpy(subset)]) for subset in subsets]
    _, value = np.polyfit(1 / np.array(sizes), distances, 1)
    return Extrapolation(float(value), tuple(sizes), tuple(distances))


def class_distances(
    generated: torch.Tensor,
    labels: torch.Tensor,
    real: torch.Tensor,
    real_labels: torch.Tensor,
    *,
    names: Sequence[str],
    level: float,
    seed: int,
) -> ClassDistances:
    """FID of each class that both sides have enough images of; see `ClassView`.

    Args:
        generated: [N, D].
        labels: [N], 0 to the number of names less 1.
        real: [M, D].
        real_labels: [M].
        names: of the classes.
        level: of the intervals.
        seed: see `estimate_frechet`.

    Raises:
        UserError: every class is too small.
    """
    view = ClassView.of(labels, real, real_labels, len(names))
    directions = view.basis.shape[1]
    estimates = {}
    rows = []
    for label in view.judged:
        sides = generated[labels == label], real[real_labels == label]
        found = view.estimate(*sides, seed=seed)
        estimates[names[label]] = found.estimate
        interval = distance_interval(found, level)
        fid = FrechetReference.of(sides[1]).distance_to(sides[0])
        rows.append(ClassDistance(names[label], len(sides[0]), len(sides[1]), fid, directions, interval))
    # Below zero the intervals' estimates are all zero.
    rows.sort(key=lambda row: (-estimates[row.name], row.name))
    present = np.flatnonzero(view.counts.max(axis=0)).tolist()
    too_small = tuple(names[label] for label in present if label not in view.judged)
    return ClassDistances(tuple(rows), too_small)


def _leading_directions(features: torch.Tensor, count: int) -> NDArray[np.float64]:
    if count == features.shape[1]:
        return np.eye(count)
    _, vectors = np.linalg.eigh(FeatureStatistics.of(features).covariance)
    return np.ascontiguousarray(vectors[:, -count:])


def _project(features: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    return torch.cat([block.double() @ basis for block in torch.split(features, ROWS)])
