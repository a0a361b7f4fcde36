"""Estimates with what their uncertainty is made of, and intervals."""

from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammainc, stdtrit

from ganlib.errors import UserError

# Of the ends of an interval, as a share of what they are searched in.
PRECISION = 1e-9


@dataclass(frozen=True)
class Interval:
    """Where the figure lies with confidence `level` (0.95), and the estimate in the middle.

    The estimate is free of the bias of small samples, so that of `fid` is
    below the usual figure; of a distance it is zero where less than nothing was found.
    """

    estimate: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class TwoSampleEstimate:
    """A smooth statistic of generated and real features, and the first two orders of its expansion in the samples.

    To second order (Hoeffding 1948) it is its truth, plus the mean of an
    influence over each side's samples, plus sums over pairs of a kernel that
    averages to nothing. Near zero distance the pairs are all there is: there
    influences vanish and the ordinary bootstrap is wrong. Influences computed
    from samples carry the noise of the pairs, which makes their variance too
    large by exactly the pairs' own (Efron & Stein 1981): it is taken off again.

    Attributes:
        estimate: free of its first-order bias.
        generated_influence: [N], centred.
        real_influence: [M], centred; empty where the real side plays no part.
        bias: of the plain statistic, which is the estimate and this.
        own, cross, shared: variances of the sums over pairs of two generated samples, of one of each, of two real ones.
        slope: by how much the influences' variance falls where chance makes the estimate rise by one.
    """

    estimate: float
    generated_influence: NDArray[np.float64]
    real_influence: NDArray[np.float64]
    bias: float = 0.0
    own: float = 0.0
    cross: float = 0.0
    shared: float = 0.0
    slope: float = 0.0

    @property
    def pairs(self) -> float:
        """What the pairs add to the estimate's variance."""
        return self.own + self.cross + self.shared

    @property
    def influences(self) -> float:
        """Variance of the means of the influences as seen; it holds that of the pairs twice."""
        return _mean_variance(self.generated_influence) + _mean_variance(self.real_influence)

    @property
    def standard_error(self) -> float:
        """Of the estimate, for fresh samples of the same sizes on both sides."""
        return _standard_error(self.influences, self.pairs)

    def standard_error_of_difference(self, other: "TwoSampleEstimate") -> float:
        """Of this estimate less another, generated independently and measured on the same real samples in order."""
        assert self.real_influence.shape == other.real_influence.shape
        apart = [each.own + each.cross for each in (self, other)]
        seen = (
            _mean_variance(self.generated_influence)
            + _mean_variance(other.generated_influence)
            + _mean_variance(self.real_influence - other.real_influence)
        )
        # Where an estimate lacks much, influences vanish and the pairs' own variance does not.
        least = self.lack * apart[0] + other.lack * apart[1]
        return max(_standard_error(seen, sum(apart)), sqrt(least))

    @property
    def noise(self) -> float:
        """Of the noise ε behind a squared distance |δ + ε|²: tr Σ, which is the bias and at least √tr Σ²."""
        return max(self.bias, sqrt(self.pairs / 2))

    @property
    def lack(self) -> float:
        """By what share of the noise the estimate of a distance is below zero, 0 to 1."""
        return max(-self.estimate, 0.0) / self.noise if self.noise > 0 else 0.0


def cross_variance(measured: float, own: float, shared: float) -> float:
    """Of the sum over pairs of one sample of each side, from those within the sides (see `TwoSampleEstimate`).

    By Cauchy and Schwarz it is at most twice the geometric mean of the two. More is measured where both
    sides hold the same images, whose pairs say nothing of independent ones.
    """
    return min(measured, 2 * sqrt(own * shared))


def centred(influence: NDArray[np.float64], strata: torch.Tensor | None) -> NDArray[np.float64]:
    """Influences less their mean; of a stratified sample less their class's, as the classes themselves are no chance.

    Args:
        influence: [N].
        strata: the class of each image, [N], where so many of each were taken on purpose.

    Raises:
        UserError: a class with a single image.
    """
    if strata is None:
        return np.asarray(influence - influence.mean())
    left = np.empty_like(influence)
    for _, members in members_of(strata):
        require("stratified images", {"(of one class)": len(members)}, 2, "a variance within each class")
        scale = sqrt(len(members) / (len(members) - 1))
        left[members] = scale * (influence[members] - influence[members].mean())
    return left


def partners(count: int, strata: torch.Tensor | None, draw: np.random.Generator) -> NDArray[np.int64]:
    """For each of `count` images another one at random, of a stratified sample one of its own class, [count].

    Half the square of a difference of partners is a variance, within classes where these are fixed; so no mean of the
    pairs' kernel is needed to measure theirs.
    """
    found = np.empty(count, dtype=np.int64)
    groups = [np.arange(count)] if strata is None else [members for _, members in members_of(strata)]
    for members in groups:
        order = draw.permutation(members)
        found[order] = np.roll(order, 1)
    return found


def subset(count: int, size: int, strata: torch.Tensor | None, draw: np.random.Generator) -> NDArray[np.int64]:
    """`size` of `count` images at random, of a stratified sample with its class shares, [size]."""
    if strata is None:
        return draw.choice(count, size, replace=False)
    places = np.empty(count)
    for _, members in members_of(strata):
        places[draw.permutation(members)] = (np.arange(len(members)) + draw.random()) / len(members)
    return places.argsort()[:size]


def members_of(labels: torch.Tensor) -> list[tuple[int, NDArray[np.int64]]]:
    """The classes in labels [N] and the indices of each one's images."""
    values = labels.numpy()
    return [(int(label), np.flatnonzero(values == label)) for label in np.unique(values)]


def _standard_error(seen: float, pairs: float) -> float:
    """From the variance of influences as seen, which holds that of the pairs twice, and once what is wanted."""
    return sqrt(seen - min(pairs, seen / 2))


def _mean_variance(influence: NDArray[np.float64]) -> float:
    return float(influence.var(ddof=1)) / len(influence) if len(influence) else 0.0


def normal_interval(estimate: float, standard_error: float, level: float, *, least: float = -np.inf) -> Interval:
    """The estimate and so many standard errors to both sides, cut at the `least` value the figure can have."""
    half = quantile(level) * standard_error
    return Interval(estimate, max(estimate - half, least), max(estimate + half, least), level)


def distance_interval(found: TwoSampleEstimate, level: float) -> Interval:
    """Of a squared distance: the distances for which the plain statistic is at neither tail of its law.

    The plain statistic is |δ + ε|² with δ the true difference and ε noise of
    covariance Σ, so of mean |δ|² + tr Σ (the bias) and variance 2 tr Σ² (the pairs) + 4 δᵀΣδ. Few directions
    with much noise, such as classes by chance, make it skewed; its law is taken for a gamma law of the same mean and
    variance (Patnaik 1949, Biometrika 36; at distance zero Gretton et al. 2009, "A fast, consistent kernel
    two-sample test").

    An estimate below zero is read as zero: the upper end would come too close to it, or vanish.
    """
    seen, pairs, bias = found.influences, found.pairs, found.noise
    estimate = max(found.estimate, 0.0)
    if seen + pairs == 0:
        return Interval(estimate, estimate, estimate, level)
    plain = estimate + bias
    # 4 δᵀΣδ by |δ|², of the samples' own δ + ε. What an estimate below zero lacks is at most noise of its mean
    # direction, 4 tr Σ² by tr Σ: where both sides share images the plain statistic vanishes and influences do not.
    slope = (seen + 2 * pairs * found.lack) / plain
    if found.estimate + found.bias > 0:
        slope = min(slope, seen / (found.estimate + found.bias))

    def variance_at(distance: float) -> float:
        growing = max(slope * (bias + distance) - 2 * pairs, 0.0)
        # More than four times the largest eigenvalue of Σ, which is at most √tr Σ², no distance can add.
        return pairs + min(growing, max(slope, sqrt(8 * pairs)) * distance)

    def tail(distance: float) -> float:
        mean, variance = bias + distance, variance_at(distance)
        return float(gammainc(mean * mean / variance, plain * mean / variance)) if variance > 0 else float(plain > mean)

    def end(share: float) -> float:
        if tail(0.0) <= share:
            return 0.0
        beyond = plain + sqrt(seen + pairs)
        while tail(beyond) > share:
            beyond *= 2
        return float(brentq(lambda distance: tail(distance) - share, 0.0, beyond, xtol=PRECISION * beyond))

    low, high = (end((1 + side * level) / 2) for side in (1, -1))
    return Interval(estimate, low, high, level)


def score_interval(found: TwoSampleEstimate, level: float) -> Interval:
    """Of an inception score: normal in the logarithm, with the variance that the truth at each end would give.

    Images of nearly even classes with high scores by chance have small influences, those with low scores large ones, so
    the variance seen is first moved by `slope` times the distance of estimate and truth.
    """
    seen, pairs = found.influences / found.estimate**2, found.pairs / found.estimate**2
    squared = quantile(level) ** 2

    def reach(slope: float) -> float:
        # The root of h² = z² (influences - pairs + slope · h), at least that of h² = z² pairs.
        shift = squared * slope / 2
        return max(shift + sqrt(max(shift * shift + squared * (seen - pairs), 0.0)), sqrt(squared * pairs))

    slope = found.slope / found.estimate
    low, high = found.estimate * exp(-reach(slope)), found.estimate * exp(reach(-slope))
    return Interval(found.estimate, low, high, level)


def log_interval(estimate: float, standard_error: float, level: float, *, degrees: float = np.inf) -> Interval:
    """Normal in the logarithm: for figures above zero, such as scores and ratios; plainly normal where it is lost."""
    if standard_error >= estimate:
        return normal_interval(estimate, standard_error, level, least=0)
    half = quantile(level, degrees=degrees) * standard_error / estimate
    return Interval(estimate, estimate * exp(-half), estimate * exp(half), level)


def share_interval(share: float, count: float, level: float, *, degrees: float = np.inf) -> Interval:
    """Wilson's interval (1927, JASA 22) of a share seen in `count` independent trials.

    Args:
        share: 0 to 1.
        count: of trials, or the number of independent ones that would vary as much.
        level: of confidence.
        degrees: of freedom of `count`, where it was estimated.
    """
    z = quantile(level, degrees=degrees)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # Rounding must not leave a share of 0 or 1 outside.
    return Interval(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share), level)


def effective_count(share: float, variance: float, count: int) -> float:
    """How many independent trials would give a share this variance; `count` where none was seen to vary."""
    spread = share * (1 - share)
    return spread / variance if spread > 0 and variance > 0 else float(count)


def difference_of_intervals(one: Interval, other: Interval, correlation: float = 0.0) -> Interval:
    """Of two figures, from the interval of each (Zou & Donner 2008, Stat. Med. 27, eq. 9 with correlation).

    For equal levels; keeps the asymmetry of shares near 0 and 1, where a normal interval is wrong.
    """
    assert one.level == other.level

    def reach(a: float, b: float) -> float:
        return sqrt(max(a * a + b * b - 2 * correlation * a * b, 0.0))

    estimate = one.estimate - other.estimate
    low = estimate - reach(one.estimate - one.low, other.high - other.estimate)
    high = estimate + reach(one.high - one.estimate, other.estimate - other.low)
    return Interval(estimate, low, high, one.level)


def quantile(level: float, *, degrees: float = np.inf) -> float:
    """How many standard errors to each side a confidence takes: of Student's t, without degrees of freedom normal."""
    if not 0 < level < 1:
        raise UserError(f"level={level}: found a confidence outside 0 to 1; expected for example 0.95")
    return float(stdtrit(degrees, (1 + level) / 2))


def require(what: str, counts: dict[str, int], least: int, why: str) -> None:
    """Refuse sides with fewer than `least` images.

    Raises:
        UserError: naming the side, what was found and what is needed.
    """
    for side, count in counts.items():
        if count < least:
            mend = "raise evaluate.samples" if side == "generated" else "provide more"
            raise UserError(f"{what}: {why} needs at least {least} {side} images, found {count}; {mend}")
