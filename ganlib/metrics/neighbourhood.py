"""Fidelity and diversity by nearest neighbours: precision, recall, density, coverage."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import nbdtrik

from ganlib.config import NEIGHBOURHOOD_IMAGES, NEIGHBOURHOOD_IMAGES_PER_NEIGHBOUR, GateFigure
from ganlib.metrics.distances import COLUMNS, ROWS, TIE, nearest, square_tiles
from ganlib.metrics.estimates import require

NAMES: tuple[GateFigure, ...] = ("precision", "recall", "density", "coverage")
# Images of the larger side among which the variance is measured: a matrix of distances of at most 128 MiB, unless the
# smaller side needs a larger share of both.
LARGEST = 4000
# How often the k-th neighbour within a random quarter may be farther than all that are noted.
MISSED = 1e-4
# How much images × variance may grow with twice the images; 2: more images do not help at all. Beyond, it is noise.
GROWTH = (1.0, 2.0)

# Features [N, D] and, where so many images of each class were taken on purpose, the classes [N].
Stratified = tuple[torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True)
class Neighbourhood:
    """Shares of 0 to 1, but for density, which is 1 for equal distributions and has no limit.

    Attributes:
        precision: share of generated images inside a real one's ball (Kynkäänniemi et al. 2019, eq. 1 and 2).
        recall: share of real images inside a generated one's ball (ibid.).
        density: real balls around a generated image, over k (Naeem et al. 2020, eq. 3).
        coverage: share of real images with a generated one inside their ball (ibid., eq. 4).
    """

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class Balls:
    """Around each image [N, D] the ball that reaches to its k-th nearest neighbour; computed once for the real side."""

    features: torch.Tensor
    radii: torch.Tensor
    neighbours: int

    @classmethod
    def of(cls, features: torch.Tensor, neighbours: int, *, side: str) -> "Balls":
        """Around features [N, D], N above `neighbours`; `side` names them in messages.

        Raises:
            UserError: not enough images for a k-th neighbour.
        """
        require("neighbours", {side: len(features)}, neighbours + 1, f"the neighbour number {neighbours}")
        return cls(features, nearest(features, features, neighbours, own=True)[0][:, -1], neighbours)


def measure_neighbourhood(generated: Balls, real: Balls, *, rows: int = ROWS, columns: int = COLUMNS) -> Neighbourhood:
    """All four of them in one pass over the distances between the sides; `rows` and `columns` only bound memory.

    Precision and recall equal torch-fidelity's `prc_features_to_metric`.
    """
    assert generated.neighbours == real.neighbours
    holding = torch.zeros(len(generated.features), dtype=torch.int64)
    covered = torch.zeros(len(real.features), dtype=torch.bool)
    recalled = torch.zeros(len(real.features), dtype=torch.bool)
    reach, real_reach = (balls.radii.square() * (1 + TIE) for balls in (generated, real))
    for down, across, squares in square_tiles(generated.features, real.features, rows=rows, columns=columns):
        inside = squares <= real_reach[across]
        holding[down] += inside.sum(dim=1)
        covered[across] |= inside.any(dim=0)
        recalled[across] |= (squares <= reach[down, None]).any(dim=0)
    return Neighbourhood(
        precision=_share(holding > 0),
        recall=_share(recalled),
        density=float(holding.sum()) / (len(holding) * real.neighbours),
        coverage=_share(covered),
    )


def remoteness(features: torch.Tensor, real: Balls) -> torch.Tensor:
    """How far outside the real images each one is, [N, D] -> float64 [N]: the inverse of realism.

    Realism is Kynkäänniemi et al. 2019, eq. 3. The inverse is 0 in the middle of a ball, 1 at the edge of all and more
    outside. As there, only the smaller half of the balls counts: that of a lonely image is large and says little.
    """
    kept = real.radii <= real.radii.median()
    # Around an image that occurs several times the ball is a point: what is no copy of it is very far in such radii.
    square_radii = real.radii[kept].square().clamp(min=1e-200)
    found = torch.full((len(features),), torch.inf, dtype=torch.float64)
    for down, across, squares in square_tiles(features, real.features[kept]):
        found[down] = torch.minimum(found[down], (squares / square_radii[across]).amin(dim=1))
    return found.sqrt()


def half_differences(
    models: list[Stratified], real: Stratified, neighbours: int, *, splits: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences of the four figures between random halves of all images, [splits, models, 4], scaled to full size.

    Their mean square is the variance of the figures at full size, and the mean
    product of two models' is the covariance: the real halves are the same for all models.
    With them come the mean figures of the halves, [models, 4]: the variance is that of shares as large as these.

    Two halves are independent samples of half the size. Unlike the bootstrap,
    which gives every image a twin at distance zero, no image occurs twice; unlike the jackknife,
    nothing is counted twice because neighbours depend on each other. How N × variance grows (not at all for
    independent images; where a few large balls decide it does) is seen from halves of the halves and
    carried on to the full size: half as much with each doubling, as of what tends to a limit like 1/N.
    The variance of shares is taken in multiples of p (1 - p), their design effect, as p itself depends on N.

    Above 4,000 images of a side random parts stand for all: the same share of each side, and of the smallest no fewer
    images than are required below.

    Args:
        models: generated features of each model, [N, D], with their classes [N] where so many of each were asked for
            rather than drawn by chance; halves then have half of each class.
        real: [M, D], likewise.
        neighbours: k.
        splits: how many.
        seed: of the halves.

    Raises:
        UserError: fewer than 100 images, or 8 for each neighbour, on a side.
    """
    share = _part_share([len(model[0]) for model in models], len(real[0]), neighbours)
    real_part = _Part(real, share, neighbours, np.random.default_rng([seed, 0]))
    found, middles = np.empty((splits, len(models), 4)), np.empty((len(models), 4))
    for index, model in enumerate(models):
        part = _Part(model, share, neighbours, np.random.default_rng([seed, 1 + index]))
        draw_real, draw = np.random.default_rng([seed, 0, 1]), np.random.default_rng([seed, 1 + index, 1])
        squares = torch.empty(part.count, real_part.count, dtype=torch.float64)
        for down, across, tile in square_tiles(part.features, real_part.features):
            squares[down, across] = tile
        half_figures, quarter_figures = np.empty((splits, 2, 4)), np.empty((splits, 4, 4))
        for split in range(splits):
            halves = part.halves(torch.from_numpy(draw.permutation(part.count)))
            real_halves = real_part.halves(torch.from_numpy(draw_real.permutation(real_part.count)))
            for side, (half, real_half) in enumerate(zip(halves, real_halves, strict=True)):
                half_figures[split, side] = _figures(squares, part, half, real_part, real_half)
                both = zip(part.halves(half), real_part.halves(real_half), strict=True)
                for place, (rows, columns) in enumerate(both, start=2 * side):
                    quarter_figures[split, place] = _figures(squares, part, rows, real_part, columns)
        growth = 2 * _ratio(_design_effect(half_figures), _design_effect(quarter_figures))
        scale = share / 2 * growth.clip(*GROWTH) ** (1 - share / 2)
        # Differences have twice the variance of a half.
        found[:, index] = (half_figures[:, 0] - half_figures[:, 1]) * np.sqrt(scale / 2)
        middles[index] = half_figures.mean(axis=(0, 1))
    return found, middles


def _part_share(generated: list[int], real: int, neighbours: int) -> float:
    """The share of each side, one for all, of which halves are taken.

    With one share for all the figures of the parts vary for the same reasons as those of all images, and more by
    1 / share; with 8 k images a quarter has 2 k, so each image has its k-th neighbour there.

    Raises:
        UserError: see `half_differences`.
    """
    least = max(NEIGHBOURHOOD_IMAGES, NEIGHBOURHOOD_IMAGES_PER_NEIGHBOUR * neighbours)
    why = "the interval of precision or coverage"
    if least > NEIGHBOURHOOD_IMAGES:
        why += f" with evaluate.neighbours={neighbours} (fewer need fewer images)"
    for count in generated:
        require("neighbours", {"generated": count}, least, why)
    require("neighbours", {"real": real}, least, why)
    counts = (*generated, real)
    return min(1.0, max(LARGEST / max(counts), least / min(counts)))


def _design_effect(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of figures of disjoint parts, [splits, parts, 4] with parts in pairs, of shares over p (1 - p): [4]."""
    middle = figures.mean(axis=(0, 1))
    spread = middle * (1 - middle)
    spread[NAMES.index("density")] = 1.0
    return _ratio(np.square(figures[:, ::2] - figures[:, 1::2]).mean(axis=(0, 1)) / 2, spread, otherwise=0.0)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64], *, otherwise: float = 0.5) -> NDArray[np.float64]:
    """Of arrays; `otherwise` where either is 0."""
    found = np.full(above.shape, otherwise)
    return np.asarray(np.divide(above, below, out=found, where=(above > 0) & (below > 0)))


class _Part:
    """A random part of one side, with each image's nearest neighbours in it."""

    def __init__(self, side: Stratified, share: float, neighbours: int, order: np.random.Generator) -> None:
        features, strata = side
        chosen = order.permutation(len(features))[: round(share * len(features))]
        rows = torch.from_numpy(np.sort(chosen))
        self.features, self.strata = features[rows], None if strata is None else strata[rows]
        self.count = len(chosen)
        self.neighbours = neighbours
        # Before its k-th member the images of other quarters come in between by a negative binomial law.
        noted = min(neighbours + ceil(nbdtrik(1 - MISSED, neighbours, 0.25)), self.count - 1)
        self.distances, self.indices = nearest(self.features, self.features, noted, own=True)

    def halves(self, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Every other image of the order; of a stratified side every other one of each class."""
        if self.strata is not None:
            order = order[self.strata[order].argsort(stable=True)]
        return order[::2], order[1::2]

    def square_radii(self, half: torch.Tensor) -> torch.Tensor:
        """Of the images in the half, to the k-th neighbour in the same half."""
        belongs = torch.zeros(self.count, dtype=torch.bool)
        belongs[half] = True
        seen = belongs[self.indices[half]].cumsum(dim=1)
        # The first place where k have been seen; the last one noted where that never happens.
        place = (seen < self.neighbours).sum(dim=1, keepdim=True).clamp(max=self.indices.shape[1] - 1)
        return self.distances[half].gather(1, place)[:, 0].square() * (1 + TIE)


def _figures(
    squares: torch.Tensor, part: _Part, half: torch.Tensor, real: _Part, real_half: torch.Tensor
) -> NDArray[np.float64]:
    between = squares[half][:, real_half]
    inside = between <= real.square_radii(real_half)
    recalled = (between <= part.square_radii(half)[:, None]).any(dim=0)
    density = float(inside.sum()) / (len(half) * real.neighbours)
    return np.array([_share(inside.any(dim=1)), _share(recalled), density, _share(inside.any(dim=0))])


def _share(which: torch.Tensor) -> float:
    return float(which.double().mean())
