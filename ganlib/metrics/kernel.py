"""Kernel distance of features: unbiased squared maximum mean discrepancy with the cubic polynomial kernel."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import LEAST_IMAGES
from ganlib.metrics.estimates import TwoSampleEstimate, centred, cross_variance, members_of, partners, require

# Side of a tile of the kernel matrix: 32 MiB, and 64 MiB for the two tiles of 2,048 features that make it.
TILE = 2048
# Images of each side among whose pairs the second-order variance is measured.
SAMPLE = 1000


def kernel_distances(
    generated: torch.Tensor, real: torch.Tensor, *, subsets: int, subset_size: int, seed: int
) -> NDArray[np.float64]:
    """The distance of random subsets of both sides, [subsets]: KID is their mean (Bińkowski et al. 2018, section 4).

    The subsets are those of torch-fidelity for the same seed.

    Args:
        generated: [N, D].
        real: [M, D].
        subsets: how many.
        subset_size: images of each side in a subset, 2 to min(N, M).
        seed: of the choice.

    Raises:
        UserError: a side holds less than a subset, or the subset less than 2.
    """
    counts = {"generated": len(generated), "real": len(real)}
    require("kid", counts | {"subset": subset_size}, 2, "an unbiased distance")
    require("kid", counts, subset_size, f"a subset of {subset_size}")
    choice = np.random.RandomState(seed)
    distances = np.empty(subsets)
    for index in range(subsets):
        chosen = choice.choice(len(generated), subset_size, replace=False)
        real_chosen = choice.choice(len(real), subset_size, replace=False)
        distances[index] = kernel_distance(generated[torch.from_numpy(chosen)], real[torch.from_numpy(real_chosen)])
    return distances


def kernel_distance(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Of all images at once, in tiles (Gretton et al. 2012, eq. 3): unbiased, so a little below zero for equal sides.

    Args:
        generated: [N, D], N at least 2.
        real: [M, D], M at least 2.
    """
    return _unbiased(*_means(generated, real))


def estimate_kernel_distance(
    generated: torch.Tensor,
    real: torch.Tensor,
    *,
    seed: int,
    strata: torch.Tensor | None = None,
    real_strata: torch.Tensor | None = None,
) -> TwoSampleEstimate:
    """`kernel_distance` with both sides' influences, of all images; at 50,000 each, minutes.

    Args:
        generated: [N, D].
        real: [M, D].
        seed: of the pairs drawn for the second-order variance.
        strata: class of each generated image, [N], where so many of each class were asked for rather than drawn by
            chance: pairs of one class are then too few for an unbiased distance, which is mended.
        real_strata: the same of the real images, [M].

    Raises:
        UserError: fewer than 20 images on a side.
    """
    n, m = len(generated), len(real)
    require("kid", {"generated": n, "real": m}, LEAST_IMAGES, "its confidence interval")
    own, other, cross, cross_real = _means(generated, real)
    biases = (_mean_diagonal(generated) - own.mean()) / n, (_mean_diagonal(real) - other.mean()) / m
    missing = _missing_pairs(generated, own, strata), _missing_pairs(real, other, real_strata)
    influence, real_influence = 2 * (own - cross), 2 * (other - cross_real)
    draw = np.random.default_rng(seed)
    one, again = (_Sampled(generated, strata, draw) for _ in range(2))
    first, second = (_Sampled(real, real_strata, draw) for _ in range(2))
    pairs, real_pairs = (
        2 * _pair_square(one, again, same=True) / n**2,
        2 * _pair_square(first, second, same=True) / m**2,
    )
    return TwoSampleEstimate(
        _unbiased(own, other, cross, cross_real) + sum(missing),
        centred(influence, strata),
        centred(real_influence, real_strata),
        bias=sum(biases) - sum(missing),
        own=pairs,
        cross=cross_variance(4 * _pair_square(one, first, same=False) / (n * m), pairs, real_pairs),
        shared=real_pairs,
    )


Means = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _unbiased(own: NDArray[np.float64], other: NDArray[np.float64], cross: NDArray[np.float64], _: object) -> float:
    return float(own.mean() + other.mean() - 2 * cross.mean())


def _means(generated: torch.Tensor, real: torch.Tensor) -> Means:
    """Mean kernel of each image with the others of its side ([N], [M]) and with all of the other side ([N], [M])."""
    n, m = len(generated), len(real)
    cross, cross_real = np.zeros(n), np.zeros(m)
    for rows, columns, kernel in _tiles(generated, real, own=False):
        cross[rows] += kernel.sum(axis=1) / m
        cross_real[columns] += kernel.sum(axis=0) / n
    return _own_means(generated), _own_means(real), cross, cross_real


def _own_means(features: torch.Tensor) -> NDArray[np.float64]:
    means = np.zeros(len(features))
    for rows, columns, kernel in _tiles(features, features, own=True):
        if columns == rows:
            np.fill_diagonal(kernel, 0)
        else:
            means[columns] += kernel.sum(axis=0)
        means[rows] += kernel.sum(axis=1)
    return means / (len(features) - 1)


def _missing_pairs(features: torch.Tensor, own: NDArray[np.float64], strata: torch.Tensor | None) -> float:
    """What the mean over pairs of different images lacks in pairs of one class, where classes have fixed sizes."""
    if strata is None:
        return 0.0
    within = sum(
        len(members) * _own_means(features[torch.from_numpy(members)]).mean() for _, members in members_of(strata)
    )
    return float(within / len(features) - own.mean()) / len(features)


def _mean_diagonal(features: torch.Tensor) -> float:
    squares = (block.double().square().sum(dim=1) for block in torch.split(features, TILE))
    return float(torch.cat([(square / features.shape[1] + 1) ** 3 for square in squares]).mean())


class _Sampled:
    """At most 1,000 images of one side and a partner of each: their indices and features, two arrays each."""

    def __init__(self, features: torch.Tensor, strata: torch.Tensor | None, draw: np.random.Generator) -> None:
        rows = draw.permutation(len(features))[:SAMPLE]
        self.indices = rows, partners(len(features), strata, draw)[rows]
        self.features = tuple(features[torch.from_numpy(part)].double().numpy() for part in self.indices)


def _tiles(a: torch.Tensor, b: torch.Tensor, *, own: bool) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
    for top in range(0, len(a), TILE):
        rows = slice(top, min(top + TILE, len(a)))
        block = a[rows].double().numpy()
        # A set's own matrix is symmetric: its lower triangle is not computed.
        for left in range(top if own else 0, len(b), TILE):
            columns = slice(left, min(left + TILE, len(b)))
            yield rows, columns, _kernel(block, b[columns].double().numpy())


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    inner = a @ b.T / a.shape[1] + 1
    return np.asarray(inner * inner * inner)


def _pair_square(a: _Sampled, b: _Sampled, *, same: bool) -> float:
    """Mean square of the kernel less its means over each side: a quarter of that of differences of partners."""
    total = np.zeros((len(a.features[0]), len(b.features[0])))
    for sign, i, j in ((1, 0, 0), (-1, 0, 1), (-1, 1, 0), (1, 1, 1)):
        total += sign * _kernel(a.features[i], b.features[j])
    different = np.ones(total.shape, dtype=bool)
    if same:
        for rows in a.indices:
            for columns in b.indices:
                different &= rows[:, None] != columns
    return float(np.square(total[different]).mean()) / 4
