"""Does the generator give its training images back?

An image is close to one if it is much nearer to it than to the next training
images around: the ratio of the two distances does not depend on how dense the data
are there, so a blurry or a cautious generator, which is near to everything, is not taken for a
copier. What is close for a generated image is decided by held-out images, for which the training
images are as strange as they should be for the generator.

Held-out images may have near duplicates in the training set themselves, as frames of a video do. Planted copies tell:
training images with a little noise. A held-out image as near as these is no measure of what a copy is, and where most
are, copies cannot be told.

All distances are Euclidean, of features or of pixels.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.metrics.distances import nearest
from ganlib.metrics.estimates import Interval, difference_of_intervals, require, share_interval
from ganlib.metrics.tail import tail_p_value

# The nearest training image against this one further on: a pair of duplicates in the training set hides nothing.
FURTHER = 3
LEAST = 100
# The share of held-out images that count as close.
CLOSE_SHARE = 0.002
# The share of planted copies that count as close.
FOUND_SHARE = 0.9


@dataclass(frozen=True)
class Closeness:
    """Of N images to the training set.

    Attributes:
        nearest: index of the nearest training image, int64 [N].
        distance: to it, [N].
        ratio: of this distance to that of the third nearest, 0 (a copy) to 1, [N].
        authentic: not nearer to that training image than its own nearest training neighbour is (Alaa et al. 2022), [N].
    """

    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]
    ratio: NDArray[np.float64]
    authentic: NDArray[np.bool_]


@dataclass(frozen=True)
class TrainingSet:
    """Training images as vectors [T, D] (features, or pixels uint8), and each one's distance to its nearest other."""

    vectors: torch.Tensor
    spacing: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: torch.Tensor) -> "TrainingSet":
        """Of vectors [T, D]; the distances are computed once for all comparisons.

        Raises:
            UserError: fewer than 100 images.
        """
        require("memorisation", {"training": len(vectors)}, LEAST, "a neighbourhood to compare with")
        return cls(vectors, nearest(vectors, vectors, 1, own=True)[0][:, 0].numpy())

    def closeness(self, vectors: torch.Tensor) -> Closeness:
        """Of vectors [N, D], which are not themselves of the training set."""
        distances, indices = (part.numpy() for part in nearest(vectors, self.vectors, FURTHER))
        first, found = distances[:, 0], indices[:, 0]
        return Closeness(found, first, closeness_ratio(distances), first > self.spacing[found])


def closeness_ratio(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of distances to the nearest training images in order, [N, at least 3] -> [N]; see `Closeness.ratio`."""
    first, further = distances[:, 0], distances[:, FURTHER - 1]
    # Three exact copies of one training image: as close as can be.
    return np.divide(first, further, out=np.zeros_like(first), where=further > 0)


def close_from(held_out: NDArray[np.float64], planted: NDArray[np.float64]) -> float:
    """The ratio from which on downwards an image counts as close.

    At least `CLOSE_SHARE` of held-out images, [M], do, and `FOUND_SHARE` of planted copies, [P].
    """
    return max(_quantile(held_out, CLOSE_SHARE), _quantile(planted, FOUND_SHARE))


def as_near(values: NDArray[np.float64], planted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which images, by distance or by ratio, [M], are as near to a training image as planted copies, [P], are."""
    return np.asarray(values <= _quantile(planted, FOUND_SHARE))


def _quantile(values: NDArray[np.float64], share: float) -> float:
    """The least of the values that so large a share of them does not exceed."""
    return float(np.sort(values)[ceil(share * len(values)) - 1])


@dataclass(frozen=True)
class Suspect:
    """A generated image (its index), the training image it is closest to, their distance and its `Closeness.ratio`."""

    generated: int
    training: int
    distance: float
    ratio: float


@dataclass(frozen=True)
class Memorisation:
    """What was found.

    Attributes:
        p_value: of as many generated images among the closest of all by chance, if they were held-out ones.
        share: of generated images that are close beyond what held-out ones are.
        authenticity: share of authentic generated images (Alaa et al. 2022, section 3.3).
        held_out_authenticity: the same of held-out images: what a generator that copies nothing would have.
        copying: C_T over the whole (Meehan et al. 2020, eq. 1): below about -2 generated images are nearer to the
            training set than held-out ones; above 2 farther. It does not see a few copies among many others.
        near_duplicates: how many of the `held_out` images are as near to a training image as planted copies are.
        suspects: generated images from the closest on.
    """

    p_value: float
    share: Interval
    authenticity: Interval
    held_out_authenticity: float
    copying: float
    near_duplicates: int
    held_out: int
    suspects: tuple[Suspect, ...]


def measure_memorisation(
    generated: Closeness,
    held_out: Closeness,
    planted: Closeness,
    *,
    twins: NDArray[np.bool_],
    level: float,
    suspects: int,
    seed: int,
) -> Memorisation:
    """Compare generated with held-out images, both seen from the training set.

    Args:
        generated: of N images.
        held_out: of M images from the same source as the training set, without copies of training images.
        planted: of training images with a little noise, which are copies.
        twins: held-out images, [M], known to have near duplicates in the training set by other signs.
        level: of the intervals.
        suspects: how many to list.
        seed: of the p-value's permutations.

    Raises:
        UserError: fewer than 100 generated or held-out images.
    """
    counts = {"generated": len(generated.ratio), "held-out": len(held_out.ratio)}
    require("memorisation", counts, LEAST, "a comparison of generated with held-out images")
    limit = close_from(held_out.ratio, planted.ratio)
    # Of held-out images as well all those tied at the limit are counted, such as copies where the data has many.
    close, expected = (
        share_interval(float((side.ratio <= limit).mean()), len(side.ratio), level) for side in (generated, held_out)
    )
    order = np.lexsort((np.arange(len(generated.ratio)), generated.distance, generated.ratio))[:suspects]
    return Memorisation(
        p_value=tail_p_value(generated.ratio, held_out.ratio, seed=seed),
        share=difference_of_intervals(close, expected),
        authenticity=share_interval(float(generated.authentic.mean()), counts["generated"], level),
        held_out_authenticity=float(held_out.authentic.mean()),
        copying=copying_statistic(generated.distance, held_out.distance),
        near_duplicates=int((twins | as_near(held_out.ratio, planted.ratio)).sum()),
        held_out=counts["held-out"],
        suspects=tuple(
            Suspect(int(i), int(generated.nearest[i]), float(generated.distance[i]), float(generated.ratio[i]))
            for i in order
        ),
    )


def copying_statistic(generated: NDArray[np.float64], held_out: NDArray[np.float64]) -> float:
    """Standardised Mann-Whitney statistic of distances to the training set (Meehan et al. 2020, eq. 1), ties halved.

    Normal with variance 1 where both are alike; below zero where generated images are nearer.

    Args:
        generated: distances [N].
        held_out: distances [M].
    """
    n, m = len(generated), len(held_out)
    order = np.sort(held_out)
    below, up_to = (np.searchsorted(order, generated, side=side) for side in ("left", "right"))
    above = float((below + up_to).sum()) / 2
    repeats = np.unique(np.concatenate([generated, held_out]), return_counts=True)[1]
    total = n + m
    ties = float((repeats.astype(np.float64) ** 3 - repeats).sum()) / (total * (total - 1))
    variance = n * m * (total + 1 - ties) / 12
    return (above - n * m / 2) / float(np.sqrt(variance)) if variance > 0 else 0.0
