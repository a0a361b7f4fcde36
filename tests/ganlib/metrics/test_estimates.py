"""Intervals of squared distances and scores against the laws they stand for."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from ganlib.metrics.estimates import (
    Interval,
    TwoSampleEstimate,
    distance_interval,
    log_interval,
    quantile,
    score_interval,
)
from ganlib.metrics.inception_score import estimate_inception_score

LEVEL = 0.95


def seen(difference: NDArray[np.float64], noise: NDArray[np.float64]) -> TwoSampleEstimate:
    """A noisy difference [D] whose noise has these variances [D], as an estimate of its squared length."""
    influences = 4 * float(difference**2 @ noise)
    return TwoSampleEstimate(
        float(difference @ difference - noise.sum()),
        # Two images whose influences have just this variance of the mean.
        np.array([1.0, -1.0]) * sqrt(influences),
        np.zeros(0),
        bias=float(noise.sum()),
        own=2 * float(noise @ noise),
    )


@pytest.mark.parametrize("directions", [1, 3, 12, 200])
@pytest.mark.parametrize("length", [2.5, 6.0, 40.0])
def test_even_noise_gives_the_ends_of_the_noncentral_chi_square(directions: int, length: float) -> None:
    """With the same noise in all directions the law is known: its 2.5 % tails are the ends."""
    difference = np.zeros(directions)
    difference[0] = sqrt(length**2 + directions)
    found = distance_interval(seen(difference, np.ones(directions)), LEVEL)
    square = float(difference @ difference)

    def end(share: float) -> float:
        if stats.chi2.cdf(square, directions) <= share:
            return 0.0
        return float(brentq(lambda distance: stats.ncx2.cdf(square, directions, distance) - share, 1e-9, 1e5))

    assert (found.low, found.high) == pytest.approx((end(0.975), end(0.025)), rel=0.12, abs=0.5)


@pytest.mark.parametrize("directions", [1, 2, 5, 50])
def test_zero_is_left_out_where_the_chi_square_test_rejects_it(directions: int) -> None:
    limit = stats.chi2.ppf(0.975, directions)
    difference = np.zeros(directions)
    for square, rejected in ((0.999 * limit, False), (1.001 * limit, True)):
        difference[0] = sqrt(square)
        assert (distance_interval(seen(difference, np.ones(directions)), LEVEL).low > 0) == rejected


@pytest.mark.parametrize("length", [0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("axis", [0, 3])
def test_uneven_noise_is_held_nineteen_times_in_twenty(axis: int, length: float) -> None:
    """1,000 draws; where the difference is small or in a quiet direction, intervals are longer than they need be."""
    noise, draw = np.array([3.0, 1.0, 0.3, 0.1]), np.random.default_rng(0)
    difference = length * np.eye(4)[axis]
    ends = [
        distance_interval(seen(difference + np.sqrt(noise) * draw.normal(size=4), noise), LEVEL) for _ in range(1000)
    ]
    held = np.mean([one.low <= length**2 <= one.high for one in ends])
    assert held > 0.95 - 3 * sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("directions", [1, 5, 60])
@pytest.mark.parametrize("size", [0.0, 1e-4, 0.1, 0.9])
def test_an_estimate_below_zero_is_read_as_zero(directions: int, size: float) -> None:
    """However small the difference by chance, the interval neither vanishes nor explodes; noise is even here."""
    below, zero = (distance_interval(seen(np.full(directions, each), np.ones(directions)), LEVEL) for each in (size, 1))
    assert 0 == below.low == below.estimate
    assert below.high == pytest.approx(zero.high)
    assert 0 < zero.high < 9 * directions


@pytest.mark.parametrize("size", [0.0, 1e-4, 0.1, 0.9])
def test_a_difference_of_two_estimates_below_zero_is_nearly_as_unsure_as_of_zero(size: float) -> None:
    below, zero = (replace(seen(np.full(5, each), np.ones(5)), real_influence=np.zeros(2)) for each in (size, 1.0))
    expected = zero.standard_error_of_difference(zero)
    assert expected == pytest.approx(sqrt(2 * zero.pairs))
    assert 0.7 * expected < below.standard_error_of_difference(below) < 1.001 * expected


def test_no_chance_no_length() -> None:
    still = np.zeros(5)
    assert distance_interval(TwoSampleEstimate(2.0, still, still), LEVEL) == Interval(2.0, 2.0, 2.0, LEVEL)
    found = score_interval(TwoSampleEstimate(3.0, still, np.zeros(0)), LEVEL)
    assert (found.low, found.high) == pytest.approx((3, 3))


def test_a_log_interval_of_few_degrees_of_freedom_is_longer() -> None:
    found = log_interval(2.0, 0.2, LEVEL, degrees=10)
    assert np.log(found.high / 2) == pytest.approx(0.1 * stats.t.ppf(0.975, 10), rel=1e-3)
    assert found.high > log_interval(2.0, 0.2, LEVEL).high


def test_a_score_far_from_its_bound_has_a_normal_interval_in_the_logarithm() -> None:
    influence = np.random.default_rng(0).normal(size=4000)
    found = score_interval(TwoSampleEstimate(5.0, influence, np.zeros(0), bias=-0.001, own=1e-8), LEVEL)
    expected = quantile(LEVEL) * influence.std(ddof=1) / sqrt(4000) / 5
    assert (np.log(5 / found.low), np.log(found.high / 5)) == pytest.approx((expected, expected), rel=0.05)


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_certain_images_of_even_classes_by_chance_have_an_honest_score(classes: int) -> None:
    """The influences vanish at the truth, the number of classes: what is left is (K - 1) / 2N² in logarithms."""
    draw = np.random.default_rng(0)
    drawn = [torch.from_numpy(50 * np.eye(classes)[draw.integers(classes, size=200)]) for _ in range(400)]
    found = [estimate_inception_score(logits) for logits in drawn]
    pairs = np.mean([one.pairs / one.estimate**2 for one in found])
    assert pairs == pytest.approx((classes - 1) / (2 * 200**2), rel=0.05)
    ends = [score_interval(one, LEVEL) for one in found]
    held = np.mean([one.low <= classes <= one.high for one in ends])
    assert held > 0.95 - 3 * sqrt(0.05 * 0.95 / 400)
    lengths = np.array([one.high - one.low for one in ends])
    assert np.median(lengths) < 4 * 2 * quantile(LEVEL) * classes * sqrt(pairs)


def test_the_variance_of_a_score_s_influences_falls_with_the_score_as_fresh_samples_show() -> None:
    draw = np.random.default_rng(0)

    def fresh() -> TwoSampleEstimate:
        likely = draw.choice(3, size=300, p=[0.5, 0.3, 0.2])
        return estimate_inception_score(torch.from_numpy(3 * np.eye(3)[likely] + draw.normal(size=(300, 3))))

    found = [fresh() for _ in range(500)]
    estimates, influences = np.array([(one.estimate, one.influences) for one in found]).T
    regression = np.cov(influences, estimates)[0, 1] / estimates.var()
    # In units of the score, whose square is in the variance as well.
    expected = np.mean([2 * one.influences / one.estimate - one.slope for one in found])
    assert regression == pytest.approx(expected, rel=0.25)
