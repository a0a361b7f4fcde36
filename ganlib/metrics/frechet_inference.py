"""What a Fréchet distance measured on samples says of the distributions behind them.

FID is biased upwards, by about D²/N of the features' variance: 20 times its
standard error at 64 features and 300 images. A percentile bootstrap adds the
bias a second time. Here the bias is taken off and the standard error is
computed in closed form, so an interval costs some ten eigendecompositions.

Everything is written in balanced coordinates: with S the optimal transport
map from the generated to the real Gaussian there is an L with LᵀL = S such
that y = L (x - m_generated) and t = L⁻ᵀ (r - m_real) have the same diagonal
covariance diag(p), p² being the eigenvalues of Σ_generated Σ_real. There

    FID(Σ + δ) = FID + linear + ½ Σᵢⱼ (δᵢⱼ - δ'ᵢⱼ)² / (pᵢ + pⱼ),

the second differential of the Bures distance, and the influence of an image is
± 2 (m_generated - m_real)·x + |x|² - |y|² (x centred), less its mean.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ellipj, ellipk, ellipkm1

from ganlib.config import FID_IMAGES_PER_FEATURE
from ganlib.metrics.estimates import TwoSampleEstimate, centred, cross_variance, members_of, partners, require
from ganlib.metrics.frechet import ROWS, FeatureStatistics, covariance_root

# Pairs of images of which the second-order variance is the mean.
PAIRS = 8000
PAIRS_AT_ONCE = 1000
# Directions with less than this share of the largest variance carry only rounding.
NEGLIGIBLE = 1e-12
# Relative error of the mean over sample sizes.
PRECISION = 1e-9

Vector = NDArray[np.float64]


def estimate_frechet(
    generated: torch.Tensor,
    real: torch.Tensor,
    *,
    seed: int,
    strata: torch.Tensor | None = None,
    real_strata: torch.Tensor | None = None,
) -> TwoSampleEstimate:
    """The distance between the distributions' Gaussians, its bias removed, with both sides' influences.

    The bias of the trace term is removed to all orders in D/N for Gaussian
    features (after Tiomoko & Couillet 2019, "Random matrix-improved
    estimation of the Wasserstein distance between two centered Gaussian
    distributions", extended to unequal sizes), and for the features' own
    fourth moments to first order in 1/N.

    Args:
        generated: [N, D].
        real: [M, D].
        seed: of the pairs drawn for the second-order variance.
        strata: class of each generated image, [N], where so many of each class were asked for rather than drawn by
            chance: then chance has less to do, and less bias is to be removed.
        real_strata: the same of the real images, [M].

    Raises:
        UserError: N or M below 1.25 D (the distance itself is still computed by `frechet_distance`).
    """
    dimensions = generated.shape[1]
    least = max(20, int(np.ceil(FID_IMAGES_PER_FEATURE * dimensions)))
    counts = {"generated": len(generated), "real": len(real)}
    require("fid", counts, least, f"its confidence interval with {dimensions} features")
    one, other = FeatureStatistics.of(generated), FeatureStatistics.of(real)
    root, real_root = covariance_root(one.covariance), covariance_root(other.covariance)
    squares, basis = np.linalg.eigh(real_root.T @ one.covariance @ real_root)
    kept = squares > NEGLIGIBLE * max(squares[-1], np.finfo(np.float64).tiny)
    spread = np.sqrt(squares[kept])
    to_balanced = real_root @ basis[:, kept] / np.sqrt(spread)
    real_to_balanced = root @ (root.T @ to_balanced) / spread
    shift = one.mean - other.mean

    overlap, slopes = _overlap(spread, len(generated) - 1, len(real) - 1)
    a = _Side(generated, one.mean, to_balanced, 2 * shift, spread, slopes, strata)
    b = _Side(real, other.mean, real_to_balanced, -2 * shift, spread, slopes, real_strata)
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    of_means = np.trace(one.covariance) / a.count + np.trace(other.covariance) / b.count
    plain = shift @ shift + traces - 2 * spread.sum()
    bias = of_means + 2 * (overlap - spread.sum()) + sum(side.excess_bias() - side.fixed_bias() for side in (a, b))

    draw = np.random.default_rng(seed)
    chosen = [_Pairs(side, draw) for side in (a, b)]
    others = [_Pairs(side, draw) for side in (a, b)]
    own = 2 * _pair_square(chosen[0], others[0], same=True) / a.count**2
    shared = 2 * _pair_square(chosen[1], others[1], same=True) / b.count**2
    cross = 4 * _pair_square(chosen[0], chosen[1], same=False) / (a.count * b.count)
    return TwoSampleEstimate(
        float(plain - bias),
        a.influence,
        b.influence,
        bias=float(bias),
        own=own,
        cross=cross_variance(cross, own, shared),
        shared=shared,
    )


class _Side:
    """One side's images in balanced coordinates, block by block."""

    def __init__(
        self,
        features: torch.Tensor,
        mean: Vector,
        to_balanced: Vector,
        slope: Vector,
        spread: Vector,
        slopes: Vector,
        strata: torch.Tensor | None,
    ) -> None:
        self.features, self.mean, self.to_balanced, self.spread = features, mean, to_balanced, spread
        self.count, self.strata = len(features), strata
        self.fourth = np.zeros((len(spread), len(spread)))
        parts = []
        for away in self._blocks():
            balanced = away @ to_balanced
            squares = np.square(balanced)
            self.fourth += squares.T @ squares
            # An image's pair with itself is in the sample's influences; the estimate, free of bias, has no such pairs.
            itself = _paired(squares, squares, squares, spread) / self.count
            parts.append(away @ slope + np.square(away).sum(axis=1) - squares @ slopes - itself)
        influence = np.concatenate(parts)
        self.influence = centred(influence, strata)

    def _blocks(self) -> Iterator[Vector]:
        return (block.double().numpy() - self.mean for block in torch.split(self.features, ROWS))

    def balanced(self, chosen: NDArray[np.int64]) -> Vector:
        return np.asarray((self.features[torch.from_numpy(chosen)].double().numpy() - self.mean) @ self.to_balanced)

    def excess_bias(self) -> float:
        """Of the trace term, past what large Gaussian matrices explain.

        Coordinates were scaled by the samples themselves, which lowers their
        fourth moments; the factor is exact for Gaussian features.
        """
        degrees = self.count - 1
        moments = self.fourth * self.count * (degrees + 2) / degrees**3
        gaussian = np.outer(self.spread, self.spread)
        variance = moments - np.diag(np.square(self.spread)) - gaussian
        return float((variance / (self.spread[:, None] + self.spread)).sum()) / (2 * self.count)

    def fixed_bias(self) -> float:
        """The part of the bias that classes of fixed sizes do not have: pairs of different images of one class."""
        if self.strata is None:
            return 0.0
        weights = 0.5 / (self.spread[:, None] + self.spread)
        total = 0.0
        for _, members in members_of(self.strata):
            count = len(members)
            found = self.balanced(members)
            squares = np.square(found)
            mean, moments = found.sum(axis=0), found.T @ found - count * np.diag(self.spread)
            every = mean @ mean + (weights * np.square(moments)).sum()
            total += (every - _paired(squares, squares, squares, self.spread).sum()) / (count - 1)
        return float(total) / self.count**2


def _overlap(spread: Vector, degrees: int, real_degrees: int) -> tuple[float, Vector]:
    """The trace of (Σ_generated Σ_real)^½ from the p of samples with so many degrees of freedom, and its slopes.

    The law of p² is that of the truth times two free Marchenko-Pastur laws, so
    its moment series determines the truth's; the contour integral of the square root
    collapses on 2 √(n m) Σ (pᵢ - mean over ν of √ξᵢ(ν)), with ξ(ν) the
    eigenvalues of diag(p²) - p pᵀ / ν and ν between n and m with the arcsine law.

    The slopes are the derivatives by p², as multiples of those of Σ p, which are 1 / 2p.
    """
    if not len(spread):  # a side without variance, or none in common
        return 0.0, spread
    deflated, slopes = 0.0, np.zeros(len(spread))
    for size, weight in zip(*_sizes(degrees, real_degrees, len(spread)), strict=True):
        squares, vectors = np.linalg.eigh(np.diag(np.square(spread)) - np.outer(spread, spread) / size)
        roots = np.sqrt(squares.clip(NEGLIGIBLE * squares[-1]))
        deflated += weight * roots.sum()
        along = (spread @ vectors) / size / spread[:, None]
        slopes += weight * ((np.square(vectors) - vectors * along) / roots).sum(axis=1) * spread
    scale = 2 * np.sqrt(float(degrees) * real_degrees)
    return float(scale * (spread.sum() - deflated)), scale * (1 - slopes)


def _sizes(degrees: int, real_degrees: int, dimensions: int) -> tuple[Vector, Vector]:
    """Nodes ν between both degrees of freedom and their weights, for the mean over the arcsine law in `_overlap`.

    diag(p²) - p pᵀ / ν has its determinant's zero at ν = D, so the integrand is smooth off [0, D] only, which is
    next to few degrees of freedom. In u, with ν - D = least / dn²(u) (Jacobi's dn, ends at 0 and K), the
    singularity is K' away from all u alike and the law has density 1 / dn(u): midpoints have an error of
    exp(-2π nodes K' / K), and K' / K only falls with the logarithm of most / least (after Hale, Higham & Trefethen
    2008, SIAM J. Numer. Anal. 46). One node does for equal sizes, six for 1 : 10, ten for 1 : 200.
    """
    least, most = sorted((degrees - dimensions, real_degrees - dimensions))
    assert least > 0
    ratio = least / most
    period, away = ellipkm1(ratio), ellipk(ratio)
    nodes = 1 + int(-np.log(PRECISION) / (2 * np.pi) * period / away)
    dn = ellipj((np.arange(nodes) + 0.5) / nodes * period, 1 - ratio)[2]
    return dimensions + least / np.square(dn), 1 / dn / (1 / dn).sum()


def _paired(product: Vector, squares: Vector, other_squares: Vector, spread: Vector) -> Vector:
    """κ(u, v) = u·v + ½ Σᵢⱼ (uᵢuⱼ - pᵢδᵢⱼ)(vᵢvⱼ - pⱼδᵢⱼ) / (pᵢ + pⱼ) of pairs, [P], from u v, u², v² [P, D]."""
    weights = 0.5 / (spread[:, None] + spread)
    kernel = product.sum(axis=1) + ((product @ weights) * product).sum(axis=1)
    return np.asarray(kernel + (spread.sum() - squares.sum(axis=1) - other_squares.sum(axis=1)) / 4)


class _Pairs:
    """Random images of one side, each with a partner."""

    def __init__(self, side: _Side, draw: np.random.Generator) -> None:
        self.side = side
        self.rows = draw.integers(side.count, size=PAIRS)
        self.partners = partners(side.count, side.strata, draw)[self.rows]


def _pair_square(one: _Pairs, other: _Pairs, *, same: bool) -> float:
    """Mean square over pairs of κ less its means over each side: a quarter of that of differences of partners."""
    different = np.ones(PAIRS, dtype=bool)
    if same:
        for rows in (one.rows, one.partners):
            different &= (rows != other.rows) & (rows != other.partners)
    total = 0.0
    for chosen in np.array_split(np.flatnonzero(different), range(PAIRS_AT_ONCE, PAIRS, PAIRS_AT_ONCE)):
        ends = [one.side.balanced(rows[chosen]) for rows in (one.rows, one.partners)]
        others = [other.side.balanced(rows[chosen]) for rows in (other.rows, other.partners)]
        kernel = np.zeros(len(chosen))
        for sign, u, v in ((1, 0, 0), (-1, 0, 1), (-1, 1, 0), (1, 1, 1)):
            first, second = ends[u], others[v]
            kernel += sign * _paired(first * second, np.square(first), np.square(second), one.side.spread)
        total += float(np.square(kernel).sum()) / 4
    return total / int(different.sum())
