"""Figures of short trainings as functions of pictures and length, carried on, with the interval of a new training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ganlib.metrics.estimates import Interval, quantile


@dataclass(frozen=True)
class Trend:
    """A figure y = a + b · log pictures + c · log length, with normal errors: what differs from seed to seed.

    Pictures and length are in multiples of the whole ones of the short trainings.

    Attributes:
        coefficients: a, b, c.
        inverse: of the normal matrix, [3, 3].
        variance: of a training around the trend.
        freedom: degrees of it.
    """

    coefficients: NDArray[np.float64]
    inverse: NDArray[np.float64]
    variance: float
    freedom: int

    @classmethod
    def of(
        cls, pictures: Sequence[float], length: Sequence[float], values: Sequence[float], *, least_variance: float = 0.0
    ) -> "Trend":
        """Least squares over N trainings, N above 3; `least_variance` is what measuring alone adds."""
        rows = np.stack([np.ones(len(values)), np.log(pictures), np.log(length)], axis=1)
        inverse = np.linalg.inv(rows.T @ rows)
        coefficients = inverse @ rows.T @ np.asarray(values)
        freedom = len(values) - rows.shape[1]
        variance = float(np.square(values - rows @ coefficients).sum()) / freedom
        return cls(coefficients, inverse, max(variance, least_variance), freedom)

    def at(self, pictures: float, length: float, level: float) -> Interval:
        """Where a further training of this size lies, with confidence `level` if the trend goes on."""
        row = np.array([1.0, np.log(pictures), np.log(length)])
        middle = float(row @ self.coefficients)
        half = quantile(level, degrees=self.freedom) * sqrt(self.variance * (1 + float(row @ self.inverse @ row)))
        return Interval(middle, middle - half, middle + half, level)

    def is_told(self, name: str, level: float) -> bool:
        """Whether the figure rises or falls with `pictures` or `length` beyond what chance does."""
        place = {"pictures": 1, "length": 2}[name]
        error = sqrt(self.variance * self.inverse[place, place])
        return abs(float(self.coefficients[place])) > quantile(level, degrees=self.freedom) * error


def most_helped(falls: Mapping[str, Sequence[float]], level: float) -> str | None:
    """The class whose distance fell most as pictures doubled; None where that may be chance.

    Classes are told apart by what differs between repetitions beyond what differs for all classes alike; as the
    largest of K falls is looked at, the level is Bonferroni's.

    Args:
        falls: of each class, one for each repetition, the same number for all.
        level: of confidence.
    """
    table = np.array(list(falls.values()))
    if len(table) < 2 or table.shape[1] < 2:
        return None
    classes, repeats = table.shape
    means = table.mean(axis=1)
    left = table - means[:, None] - table.mean(axis=0) + table.mean()
    freedom = (classes - 1) * (repeats - 1)
    error = sqrt(float(np.square(left).sum()) / freedom / repeats * (1 - 1 / classes))
    best = int(means.argmax())
    least = float(stdtrit(freedom, 1 - (1 - level) / classes)) * error
    told = means[best] > 0 and means[best] - means.mean() > least
    return list(falls)[best] if told else None
