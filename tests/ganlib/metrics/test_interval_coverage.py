"""Intervals hold the truth as often as they say."""

from math import sqrt

import numpy as np
import pytest
import torch

from ganlib.config import GateFigure
from ganlib.metrics.estimates import (
    Interval,
    subset,
)
from ganlib.metrics.extractors import Features
from ganlib.metrics.frechet_inference import estimate_frechet
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.intervals import Sample, differences, intervals
from ganlib.metrics.labels import label_fidelity
from ganlib.sampling import proportional_labels
from tests.ganlib.metrics.test_intervals import CLASSES, CONFIDENCE, METRICS, MIDDLES, sample


def closed_form_fid(shift: float, scale: float) -> float:
    """Of `sample`s, from the moments of the mixtures."""
    between = np.cov(MIDDLES.T, bias=True)
    generated, real = between + scale**2 * np.eye(6), between + np.eye(6)
    roots = np.sqrt(np.linalg.eigvals(generated @ real).real)
    return max(6 * shift**2 + float(np.trace(generated + real) - 2 * roots.sum()), 0.0)


def held(found: list[dict[GateFigure, Interval]], truths: dict[GateFigure, float]) -> dict[GateFigure, float]:
    """Share of intervals that hold the truth."""
    return {
        metric: float(np.mean([one[metric].low <= truth <= one[metric].high for one in found]))
        for metric, truth in truths.items()
    }


def test_real_images_whose_shares_the_generated_ones_were_given_have_none_by_chance() -> None:
    """Shares of held-out classes move both sides alike: between equal classes there is no distance."""
    shares, found = (0.7, 0.2, 0.07, 0.03), []
    for seed in range(20):
        chance = np.random.default_rng(9000 + seed).choice(CLASSES, size=400, p=shares)
        real = sample(400, seed, apart=2, labels=chance)
        asked = proportional_labels(800, np.bincount(chance, minlength=CLASSES)).numpy()
        generated = sample(800, 5000 + seed, apart=2, labels=asked)
        values = generated.features.values, real.features.values
        found.append(
            [
                estimate_frechet(*values, seed=0, strata=generated.strata, real_strata=strata).estimate
                for strata in (real.strata, None)
            ]
        )
    (known, by_chance), errors = np.mean(found, axis=0), np.std(found, axis=0) / sqrt(len(found))
    assert abs(known) < 4 * errors[0]
    assert by_chance < -10 * errors[1], "shares taken for chance are taken off the distance"


def test_single_images_of_a_class_are_taken_together() -> None:
    many = torch.arange(3).repeat(100)
    for lonely in ([3], [3, 4]):
        labels = torch.cat([many, torch.tensor(lonely)])
        strata = Sample(Features(torch.zeros(len(labels), 1), torch.zeros(len(labels), 0)), labels, True).strata
        assert strata is not None
        assert len(strata.unique()) == 2 + len(lonely)
        assert int(strata.unique(return_counts=True)[1].min()) > 1
    odd = Sample(sample(300, 0).features, torch.cat([many[:298], torch.tensor([3, 4])]), True)
    found = intervals(odd, odd, ["fid", "kid", "is", "coverage"], CONFIDENCE)
    assert all(np.isfinite([each.low, each.high]).all() for each in found.values())


def test_random_subsets_keep_the_shares_of_strata() -> None:
    labels = torch.from_numpy(np.repeat([0, 1, 2], [700, 250, 50]))
    chosen = subset(1000, 200, labels, np.random.default_rng(0))
    assert len(set(chosen)) == 200
    assert np.abs(np.bincount(labels[chosen]) - [140, 50, 10]).max() <= 1
    assert set(chosen) != set(subset(1000, 200, labels, np.random.default_rng(1)))


# Three standard errors of a share of 0.95 seen in 200 repetitions.
REPETITIONS = 200
SLACK = 3 * sqrt(0.05 * 0.95 / REPETITIONS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    n, m = 300, 400
    neighbours: list[GateFigure] = ["precision", "recall", "density", "coverage"]
    found = [
        intervals(sample(n, s, shift=0.2, scale=1.1), sample(m, 5000 + s), METRICS, CONFIDENCE)
        for s in range(REPETITIONS)
    ]
    large = sample(200_000, 1, shift=0.2, scale=1.1)
    assert large.labels is not None
    kernel = np.mean([one["kid"].estimate for one in found])
    truths: dict[GateFigure, float] = {
        "fid": closed_form_fid(0.2, 1.1),
        "kid": float(kernel),
        "is": inception_score(large.features.logits, splits=1, seed=0),
        "label_fidelity": label_fidelity(large.features.logits, large.labels),
        "diversity": 1.1,
        **{metric: float(np.mean([one[metric].estimate for one in found])) for metric in neighbours},
    }
    for metric, share in held(found, truths).items():
        assert share >= 0.95 - SLACK, (metric, share)
        # Of a distance near zero, or a score next to the number of classes, the interval is longer than it need be.
        assert share <= 0.95 + SLACK or metric in ("fid", "kid", "is"), (metric, share)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_few_classes_far_apart_by_chance_do_not_pass_for_a_distance() -> None:
    """Equal distributions whose noise is that of four class sizes: skewed, and the truth at the edge."""
    metrics: list[GateFigure] = ["fid", "kid", "is"]
    found = [
        intervals(sample(300, s, apart=4), sample(400, 5000 + s, apart=4), metrics, CONFIDENCE)
        for s in range(REPETITIONS)
    ]
    for metric, share in held(found, {"fid": 0.0, "kid": 0.0, "is": CLASSES}).items():
        assert share >= 0.95 - SLACK, (metric, share)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_shares_close_to_one_are_held() -> None:
    """Of equal distributions with three times as many generated images nearly all is covered."""
    found = [
        intervals(sample(900, s), sample(300, 5000 + s), ["coverage", "precision"], CONFIDENCE)
        for s in range(REPETITIONS)
    ]
    truths: dict[GateFigure, float] = {
        metric: float(np.mean([one[metric].estimate for one in found])) for metric in found[0]
    }
    assert truths["coverage"] > 0.97
    for metric, share in held(found, truths).items():
        assert abs(share - 0.95) <= SLACK, (metric, share)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_equal_generators_are_seldom_called_different() -> None:
    """The gate looks at one end, which is wrong in 2.5 % of pairs."""
    pairs = 200
    found = [
        differences(
            sample(300, s, shift=0.2),
            sample(300, 4000 + s, shift=0.2),
            sample(300, 9000 + s),
            METRICS,
            CONFIDENCE,
        )
        for s in range(pairs)
    ]
    most = 0.025 + 3 * sqrt(0.025 * 0.975 / pairs)
    for metric in METRICS:
        assert np.mean([one[metric].high < 0 for one in found]) <= most, metric
        assert np.mean([one[metric].low > 0 for one in found]) <= most, metric
