"""Intervals: their arithmetic, what they refuse, and that they hold the truth as often as they say."""

from collections.abc import Callable
from functools import cache
from itertools import product
from math import sqrt

import numpy as np
import pytest
import torch
from scipy import stats
from torch_fidelity.metric_isc import isc_features_to_metric

from ganlib.config import GateFigure
from ganlib.errors import UserError
from ganlib.metrics.estimates import (
    Interval,
    TwoSampleEstimate,
    difference_of_intervals,
    distance_interval,
    effective_count,
    log_interval,
    quantile,
    share_interval,
)
from ganlib.metrics.extractors import Features
from ganlib.metrics.inception_score import estimate_inception_score, inception_score
from ganlib.metrics.intervals import Confidence, Sample, difference, differences, intervals

CONFIDENCE = Confidence(level=0.95, neighbours=3, splits=40, seed=0)
METRICS: list[GateFigure] = [
    "fid",
    "kid",
    "is",
    "precision",
    "recall",
    "density",
    "coverage",
    "label_fidelity",
    "diversity",
]
CLASSES = 4
MIDDLES = 2.5 * np.random.default_rng(99).normal(size=(CLASSES, 6))


def sample(
    count: int,
    seed: int,
    *,
    shift: float = 0.0,
    scale: float = 1.0,
    apart: float = 1.0,
    stratified: bool = False,
    labels: np.ndarray | None = None,
) -> Sample:
    """A mixture of four Gaussians in six dimensions, and a linear classifier's logits; given labels are strata."""
    draw = np.random.default_rng(seed)
    stratified = stratified or labels is not None
    if labels is None:
        labels = np.arange(count) % CLASSES if stratified else draw.integers(CLASSES, size=count)
    middles = apart * MIDDLES
    values = middles[labels] + scale * draw.normal(size=(count, 6)) + shift
    logits = values @ middles.T - np.square(middles).sum(axis=1) / 2
    parts = (torch.from_numpy(part).float() for part in (values, logits))
    return Sample(Features(*parts), torch.from_numpy(labels), stratified)


def test_every_metric_has_an_interval_around_its_estimate() -> None:
    found = intervals(sample(200, 0, shift=0.2, stratified=True), sample(200, 1), METRICS, CONFIDENCE)
    assert list(found) == METRICS
    for one in found.values():
        assert one.low <= one.estimate <= one.high
        assert one.low < one.high
    again = intervals(sample(200, 0, shift=0.2, stratified=True), sample(200, 1), METRICS, CONFIDENCE)
    assert again == found


def test_more_images_make_intervals_shorter() -> None:
    few, many = (intervals(sample(n, 0, shift=0.3), sample(n, 1), METRICS, CONFIDENCE) for n in (150, 1200))
    for metric in METRICS:
        ratio = (few[metric].high - few[metric].low) / (many[metric].high - many[metric].low)
        # √8 where nothing is at its limit; a score next to the number of classes moves by 1/N.
        assert 1.5 < ratio < 8, metric


def test_a_difference_on_the_same_real_images_is_surer_than_two_intervals() -> None:
    real, one, other = sample(150, 0), sample(600, 1, shift=0.6), sample(600, 2, shift=0.6)
    metrics: list[GateFigure] = ["fid", "kid", "precision", "coverage"]
    together = differences(one, other, real, metrics, CONFIDENCE)
    ends = [intervals(model, real, metrics, CONFIDENCE) for model in (one, other)]
    for metric in metrics:
        apart = sqrt(sum((end[metric].high - end[metric].low) ** 2 for end in ends))
        assert together[metric].low < 0 < together[metric].high, metric
        assert together[metric].high - together[metric].low < 1.001 * apart, metric
    assert together["fid"] == difference(one, other, real, "fid", CONFIDENCE)


def test_a_better_generator_is_found_and_the_sign_is_challenger_less_champion() -> None:
    real, good, bad = sample(400, 0), sample(400, 1), sample(400, 2, shift=0.8, scale=1.5)
    metrics: list[GateFigure] = ["fid", "kid", "precision", "coverage", "label_fidelity"]
    gained, lost = differences(good, bad, real, metrics, CONFIDENCE), differences(bad, good, real, metrics, CONFIDENCE)
    for metric in ("fid", "kid"):
        assert gained[metric].high < 0 < lost[metric].low, metric
    for metric in ("precision", "coverage", "label_fidelity"):
        assert lost[metric].high < 0 < gained[metric].low, metric


def test_what_a_metric_needs_is_said_in_one_line() -> None:
    unlabelled = Sample(sample(200, 0).features, None, False)
    for metric in ("label_fidelity", "diversity"):
        with pytest.raises(UserError, match=f"{metric}: needs the class of each image, found none"):
            intervals(unlabelled, sample(200, 1), [metric], CONFIDENCE)
    with pytest.raises(UserError, match=r"at least 100 generated images, found 50; raise evaluate.samples"):
        intervals(sample(50, 0), sample(200, 1), ["coverage"], CONFIDENCE)
    with pytest.raises(UserError, match="needs at least 20 real images, found 10"):
        intervals(sample(50, 0), sample(10, 1), ["kid"], CONFIDENCE)
    with pytest.raises(UserError, match="level=95: found a confidence outside 0 to 1"):
        quantile(95)


def test_wilson_s_interval_is_scipy_s() -> None:
    for successes, count in ((0, 20), (3, 20), (20, 20), (77, 500)):
        expected = stats.binomtest(successes, count).proportion_ci(0.9, method="wilson")
        found = share_interval(successes / count, count, 0.9)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_quantiles_of_few_degrees_of_freedom() -> None:
    assert quantile(0.95) == pytest.approx(stats.norm.ppf(0.975))
    for degrees in (20, 60, 200):
        assert quantile(0.95, degrees=degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.007)


def test_differences_of_intervals() -> None:
    one, other = Interval(0.5, 0.4, 0.7, 0.95), Interval(0.3, 0.2, 0.35, 0.95)
    found = difference_of_intervals(one, other)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.2, 0.2 - sqrt(0.0125), 0.2 + sqrt(0.05)))
    same = difference_of_intervals(one, one, correlation=1)
    assert same.high - same.low < found.high - found.low


def test_a_distance_s_interval_is_longer_upwards_near_zero_and_even_far_away() -> None:
    draw = np.random.default_rng(0)
    influence = draw.normal(size=100)
    near = distance_interval(TwoSampleEstimate(0.05, influence, influence, bias=0.02), 0.95)
    assert near.high - near.estimate > near.estimate - near.low
    far = distance_interval(TwoSampleEstimate(100.0, influence, influence, bias=0.02), 0.95)
    assert far.high - far.estimate == pytest.approx(far.estimate - far.low, rel=0.02)
    below = distance_interval(TwoSampleEstimate(-0.3, influence, influence, bias=0.4, own=1e-3), 0.95)
    assert 0 <= below.low <= below.high


def test_degenerate_figures_have_finite_intervals() -> None:
    assert log_interval(0.0, 0.0, 0.95) == Interval(0.0, 0.0, 0.0, 0.95)
    assert effective_count(1.0, 0.0, 50) == 50
    assert share_interval(1.0, 50, 0.95).low < 1


DEGENERATE: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "constant": lambda draw: np.ones((150, 3)),
    "two images": lambda draw: np.repeat(draw.integers(2, size=(150, 1)), 3, axis=1),
    "mostly dead": lambda draw: draw.random((150, 3)) < 0.01,
    "one far away": lambda draw: np.concatenate([draw.normal(size=(149, 3)), 1e5 * np.ones((1, 3))]),
    "far from zero": lambda draw: draw.normal(size=(150, 3)) + 1e4,
    "tiny": lambda draw: 1e-9 * draw.normal(size=(150, 3)),
}


@pytest.mark.parametrize("stratified", [False, pytest.param(True, marks=pytest.mark.thorough)])
@pytest.mark.parametrize(("kind", "real_kind"), list(product(DEGENERATE, repeat=2)))
def test_odd_features_have_finite_intervals_and_differences(kind: str, real_kind: str, stratified: bool) -> None:
    draw = np.random.default_rng(0)
    labels = torch.arange(150) % 3
    generated, real = (
        Sample(Features(torch.from_numpy(DEGENERATE[each](draw)).float(), torch.zeros(150, 3)), labels, fixed)
        for each, fixed in ((kind, stratified), (real_kind, False))
    )
    metrics: list[GateFigure] = ["fid", "kid", "is", "density", "coverage"]
    found = intervals(generated, real, metrics, CONFIDENCE)
    for one in (*found.values(), *differences(generated, generated, real, metrics, CONFIDENCE).values()):
        assert np.isfinite([one.estimate, one.low, one.high]).all()
        assert one.low <= one.estimate <= one.high


def gaussian_sample(count: int, dimensions: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, dimensions))).float()


def unlabelled(values: torch.Tensor) -> Sample:
    return Sample(Features(values, torch.zeros(len(values), 2)), None, False)


# Generated images that share all or much with the real ones, [M, D].
NEARLY_REAL: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "themselves": lambda real: real,
    "turned": lambda real: real.flip(0),
    "noise of 1e-6": lambda real: real + 1e-6 * gaussian_sample(*real.shape, 7),
    "noise of 1e-2": lambda real: real + 1e-2 * gaussian_sample(*real.shape, 7),
    "noise of 0.1": lambda real: real + 0.1 * gaussian_sample(*real.shape, 7),
    "shift of 1e-6": lambda real: real + 1e-6,
    "shift of 1e-2": lambda real: real + 1e-2,
    "twice": lambda real: real.repeat(2, 1),
    "three quarters": lambda real: real[: 3 * len(real) // 4],
    "one a little off": lambda real: torch.cat([real[:-1], real[-1:] + 0.5]),
}


@cache
def independent(metric: GateFigure, count: int, dimensions: int) -> tuple[Interval, Interval]:
    """Of a fresh sample, and of the difference of two."""
    real, *fresh = (unlabelled(gaussian_sample(count, dimensions, seed)) for seed in range(3))
    return intervals(fresh[0], real, [metric], CONFIDENCE)[metric], difference(*fresh, real, metric, CONFIDENCE)


@pytest.mark.parametrize("kind", NEARLY_REAL)
@pytest.mark.parametrize(("metric", "count", "dimensions"), [("fid", 120, 32), ("kid", 100, 512)])
def test_what_is_nearly_real_is_as_sure_as_an_independent_set(
    kind: str, metric: GateFigure, count: int, dimensions: int
) -> None:
    real = gaussian_sample(count, dimensions, 0)
    near = unlabelled(NEARLY_REAL[kind](real))
    expected, expected_apart = independent(metric, count, dimensions)
    found = intervals(near, unlabelled(real), [metric], CONFIDENCE)[metric]
    assert 0 == found.low == found.estimate
    assert 0.4 < found.high / expected.high < 2.5
    apart = difference(near, near, unlabelled(real), metric, CONFIDENCE)
    assert apart.low < 0 == apart.estimate < apart.high
    assert 0.4 < (apart.high - apart.low) / (expected_apart.high - expected_apart.low) < 2.5


@pytest.mark.parametrize("metric", ["fid", "kid"])
def test_intervals_go_smoothly_from_the_real_images_to_independent_ones(metric: GateFigure) -> None:
    """Images of the real distribution, of which ever less is the real images' own."""
    real, other = gaussian_sample(150, 12, 0), gaussian_sample(150, 12, 1)
    turns = [0.0, 1e-8, 1e-4, 1e-2, *np.linspace(0.1, np.pi / 2, 12)]
    drawn = (unlabelled(float(np.cos(turn)) * real + float(np.sin(turn)) * other) for turn in turns)
    highs = [intervals(each, unlabelled(real), [metric], CONFIDENCE)[metric].high for each in drawn]
    steps = np.array(highs[1:]) / highs[:-1]
    assert steps[:3] == pytest.approx(1, rel=1e-3)
    assert (np.abs(steps - 1) < 0.35).all(), steps


def test_the_reported_score_is_torch_fidelity_s_and_the_interval_is_around_it() -> None:
    logits = sample(203, 0).features.logits * 3
    expected = isc_features_to_metric(logits, splits=4, shuffle=True, rng_seed=7)
    assert inception_score(logits, splits=4, seed=7) == expected["inception_score_mean"]
    behind_the_interval = estimate_inception_score(logits)
    plain = behind_the_interval.estimate * np.exp(behind_the_interval.bias / behind_the_interval.estimate)
    assert inception_score(logits, splits=1, seed=0) == pytest.approx(plain, rel=1e-12)
    with pytest.raises(UserError, match="the mean of 10 parts needs at least 20 generated images, found 12"):
        inception_score(logits[:12], splits=10, seed=0)


def test_the_score_of_a_known_table() -> None:
    """Certain of one of K classes evenly: K. The same for all: 1. Two kinds of image: by hand."""
    certain = 1e4 * torch.eye(5).repeat(20, 1)
    assert inception_score(certain, splits=1, seed=0) == pytest.approx(5)
    assert inception_score(torch.zeros(100, 5), splits=1, seed=0) == pytest.approx(1)
    never = torch.cat([1e4 * torch.eye(2).repeat(50, 1), torch.full((100, 1), -1e4)], dim=1)
    assert inception_score(never, splits=1, seed=0) == pytest.approx(2), "torch-fidelity alone makes NaN of it"
    shares = np.array([[0.9, 0.1], [0.3, 0.7]])
    divergence = np.mean([(p * np.log(p / [0.6, 0.4])).sum() for p in shares])
    table = torch.from_numpy(np.log(shares)).repeat(50, 1)
    assert inception_score(table, splits=1, seed=0) == pytest.approx(np.exp(divergence))
    found = estimate_inception_score(certain)
    assert found.standard_error == pytest.approx(0, abs=1e-9)


def test_the_score_s_bias_of_few_images_is_added_back() -> None:
    truth = inception_score(sample(40000, 1).features.logits, splits=1, seed=0)
    few = [sample(40, 100 + seed).features.logits for seed in range(150)]
    plain = np.mean([inception_score(logits, splits=1, seed=0) for logits in few])
    mended = np.mean([estimate_inception_score(logits).estimate for logits in few])
    assert abs(mended - truth) < 0.3 * abs(plain - truth)
