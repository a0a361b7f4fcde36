"""Metrics against closed forms and constructed sets."""

import numpy as np
import pytest
import torch

from ganlib.config import GateFigure
from ganlib.errors import UserError
from ganlib.metrics.checks import check_counts, check_generated, check_real
from ganlib.metrics.extractors import Features
from ganlib.metrics.fidelity import measure
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance
from ganlib.metrics.intervals import Sample
from tests.configs import tiny_config

OPTIONS = tiny_config({}).evaluate


def gaussian(mean: list[float], scale: list[float]) -> FeatureStatistics:
    return FeatureStatistics(np.array(mean), np.diag(np.square(scale)))


def test_frechet_distance_of_two_gaussians() -> None:
    """Commuting covariances: |m1 - m2|^2 + sum (s1 - s2)^2 (Dowson & Landau 1982)."""
    a, b = gaussian([0.0, 1.0, 2.0], [1.0, 2.0, 0.5]), gaussian([1.0, 1.0, 4.0], [3.0, 2.0, 1.0])
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + 4 + 0 + 0.25)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_frechet_distance_is_invariant_under_rotation() -> None:
    draw = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(draw.normal(size=(3, 3)))
    a, b = gaussian([0.0, 1.0, 2.0], [1.0, 2.0, 0.5]), gaussian([1.0, 1.0, 4.0], [3.0, 2.0, 1.0])

    def rotated(s: FeatureStatistics) -> FeatureStatistics:
        return FeatureStatistics(rotation @ s.mean, rotation @ s.covariance @ rotation.T)

    assert frechet_distance(rotated(a), rotated(b)) == pytest.approx(frechet_distance(a, b))


def test_statistics_are_float64_even_far_from_zero() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(1e4, 1e-2, (500, 2)).astype(np.float32))
    statistics = FeatureStatistics.of(values)
    expected = np.cov(values.numpy().astype(np.longdouble), rowvar=False).astype(np.float64)
    np.testing.assert_allclose(statistics.covariance, expected, rtol=1e-9)


def brute_coverage(generated: np.ndarray, real: np.ndarray, neighbours: int) -> float:
    covered = 0
    for one in real:
        radius = sorted(np.linalg.norm(real - one, axis=1))[neighbours]
        covered += bool((np.linalg.norm(generated - one, axis=1) <= radius).any())
    return covered / len(real)


def test_coverage_equals_brute_force_and_sees_a_dropped_mode() -> None:
    draw = np.random.default_rng(1)
    modes = np.repeat([[0.0, 0.0], [50.0, 0.0]], 40, axis=0)
    real, generated = modes + draw.normal(size=(80, 2)), modes + draw.normal(size=(80, 2))
    for subset in (generated, generated[:40], generated[:8]):
        found = measure(sample(subset), sample(real), ["coverage"], OPTIONS)["coverage"]
        assert found == pytest.approx(brute_coverage(subset, real, OPTIONS.neighbours))
    assert measure(sample(generated[:40]), sample(real), ["coverage"], OPTIONS)["coverage"] <= 0.5


def test_each_number_of_neighbours_has_balls_of_its_own_found_once() -> None:
    real = sample(np.random.default_rng(2).normal(size=(60, 3)))
    few, many = (real.balls(count, side="real") for count in (3, 5))
    assert bool((few.radii < many.radii).all())
    assert real.balls(3, side="real") is few


def features(values: np.ndarray, logits: np.ndarray | None = None) -> Features:
    made = np.eye(4)[np.arange(len(values)) % 4] * 9 if logits is None else logits
    return Features(torch.from_numpy(values).float(), torch.from_numpy(made).float())


def sample(values: np.ndarray, logits: np.ndarray | None = None) -> Sample:
    return Sample(features(values, logits), None, stratified=False)


EVERYTHING: tuple[GateFigure, ...] = ("fid", "kid", "is", "precision", "recall", "density", "coverage")


def test_equal_and_distant_sets() -> None:
    draw = np.random.default_rng(2)
    real = draw.normal(size=(200, 3))
    equal = measure(sample(real), sample(real), EVERYTHING, OPTIONS)
    assert tuple(equal) == EVERYTHING
    assert equal["fid"] == pytest.approx(0, abs=1e-6)
    assert (equal["precision"], equal["recall"], equal["coverage"]) == (1, 1, 1)
    distant = measure(sample(draw.normal(100, 1, (200, 3))), sample(real), EVERYTHING, OPTIONS)
    assert (distant["precision"], distant["recall"], distant["density"], distant["coverage"]) == (0, 0, 0, 0)
    assert distant["fid"] == pytest.approx(3 * 100**2, rel=0.01)
    assert distant["kid"] > equal["kid"]


def test_inception_score_of_a_known_table_and_label_fidelity() -> None:
    """Uniform over K classes, each image certain of one: the score is K; all the same class: 1."""
    values = np.random.default_rng(3).normal(size=(200, 3))
    labels = torch.arange(200) % 4
    options = OPTIONS.model_copy(update={"is_splits": 1})
    for logits, score, fidelity in (
        (np.eye(4)[labels] * 1000.0, 4, 1),
        (np.tile([5.0, 1.0, 0.0, 0.0], (200, 1)), 1, 0.25),
    ):
        asked = Sample(features(values, logits), labels, stratified=True)
        found = measure(asked, sample(values), ["is", "label_fidelity"], options)
        assert found == {"is": pytest.approx(score), "label_fidelity": fidelity}


def test_a_class_figure_without_classes_is_refused() -> None:
    values = np.zeros((20, 3))
    with pytest.raises(UserError, match="diversity: needs the class of each image, found none"):
        measure(sample(values), sample(values), ["diversity"], OPTIONS)


def test_metrics_worsen_with_planted_noise() -> None:
    draw = np.random.default_rng(4)
    real = sample(draw.normal(size=(300, 3)))
    fids = [
        measure(sample(draw.normal(size=(300, 3)) + draw.normal(0, noise, (300, 3))), real, ["fid"], OPTIONS)["fid"]
        for noise in (0.0, 0.5, 1.0, 2.0)
    ]
    assert fids == sorted(fids)


def test_too_few_images_and_dead_features_are_one_line() -> None:
    with pytest.raises(UserError, match=r"evaluate\.kid_subset_size=50: needs at least 50 held-out images, found 30"):
        check_counts(OPTIONS, 30)
    with pytest.raises(UserError, match="not finite"):
        check_generated(features(np.full((5, 3), np.nan)))
    with pytest.raises(UserError, match="collapsed"):
        check_generated(features(np.ones((5, 3))))
    with pytest.raises(UserError, match=r"test split.*lower extractor\.learning_rate"):
        check_real(features(np.ones((5, 3))), "test")
