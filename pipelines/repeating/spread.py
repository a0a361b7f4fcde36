"""What the seed of a training does to a figure, and whether two recipes differ by more than that."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from ganlib.metrics.estimates import Interval, quantile

LEAST_SEEDS = 2  # one alone says nothing of what another would do


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of one recipe.

    Attributes:
        values: a seed each.
        mean: of them, with Student's t interval.
        deviation: the standard deviation between seeds, by n - 1.
    """

    values: tuple[float, ...]
    mean: Interval
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float], level: float) -> "Spread":
        """Of two seeds or more; `level` is the interval's confidence."""
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        half = quantile(level, degrees=len(values) - 1) * deviation / sqrt(len(values))
        return cls(tuple(values), Interval(mean, mean - half, mean + half, level), deviation)

    @property
    def variance_of_mean(self) -> float:
        """By which the mean varies from one set of as many seeds to the next."""
        return self.deviation**2 / len(self.values)


def difference(one: Spread, other: Spread, level: float) -> Interval:
    """One recipe's mean less another's, by Welch's t (Welch 1947, Biometrika 34), for spreads that may differ.

    The degrees of freedom are those of Welch and Satterthwaite; with three to five seeds they are few, and the interval
    is as wide as that warrants. Seeds are independent draws, not pairs: the same seed gives two recipes unlike numbers.
    """
    apart = one.mean.estimate - other.mean.estimate
    parts = [(each.variance_of_mean, len(each.values) - 1) for each in (one, other)]
    variance = sum(part for part, _ in parts)
    if variance == 0:  # no seed changes anything
        return Interval(apart, apart, apart, level)
    degrees = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    half = quantile(level, degrees=degrees) * sqrt(variance)
    return Interval(apart, apart - half, apart + half, level)


def joint_level(level: float, comparisons: int) -> float:
    """The confidence of each of several intervals so that all hold together with `level` (Bonferroni)."""
    return 1 - (1 - level) / comparisons
