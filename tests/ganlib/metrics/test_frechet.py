"""Fréchet distances: closed forms, the quick path, and what samples say of the distributions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.errors import UserError
from ganlib.metrics.estimates import distance_interval
from ganlib.metrics.frechet import FeatureStatistics, FrechetReference, frechet_distance
from ganlib.metrics.frechet_inference import _overlap, _sizes, estimate_frechet
from ganlib.metrics.frechet_parts import class_distances, extrapolate_frechet


def drawn(count: int, dimensions: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    spread = scale / np.sqrt(1 + np.arange(dimensions))
    return torch.from_numpy(shift + spread * np.random.default_rng(seed).normal(size=(count, dimensions)))


def truth(dimensions: int, shift: float, scale: float) -> float:
    return dimensions * shift**2 + float(((scale - 1) ** 2 / (1 + np.arange(dimensions))).sum())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_the_quick_path_equals_torch_fidelity_also_with_fewer_images_than_features(
    dimensions: int, count: int, real_count: int, seed: int
) -> None:
    generated, real = drawn(count, dimensions, seed, shift=0.5), drawn(real_count, dimensions, seed + 1)
    a, b = FeatureStatistics.of(generated), FeatureStatistics.of(real)
    slow = frechet_distance(a, b)
    quick = FrechetReference(b)
    # The slow path's own square roots of rounded zeros are off by 1e-6.
    assert quick.distance(a) == pytest.approx(slow, abs=1e-5)
    assert quick.distance_to(generated) == pytest.approx(quick.distance(a), abs=1e-9)


def test_weights_give_the_moments_of_other_shares() -> None:
    draw = np.random.default_rng(0)
    features, weights = 3 + draw.normal(size=(1500, 5)), draw.uniform(0.1, 4, 1500)
    found = FeatureStatistics.of(torch.from_numpy(features), torch.from_numpy(weights))
    np.testing.assert_allclose(found.mean, np.average(features, axis=0, weights=weights), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features.T, aweights=weights), rtol=1e-10, atol=1e-12)


def test_statistics_do_not_depend_on_blocks_or_order(monkeypatch: pytest.MonkeyPatch) -> None:
    features = drawn(100, 5, 0).float()
    whole = FeatureStatistics.of(features)
    monkeypatch.setattr("ganlib.metrics.frechet.ROWS", 7)
    parts = FeatureStatistics.of(features.flip(0))
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-12, atol=1e-15)
    with pytest.raises(UserError, match="at least 2 images, found 1"):
        FeatureStatistics.of(features[:1])


@pytest.mark.parametrize(("degrees", "real_degrees"), [(40, 40), (40, 400), (200, 57)])
def test_the_overlap_of_wishart_matrices_is_that_of_their_truths(degrees: int, real_degrees: int) -> None:
    """Mean over draws at D/N up to ¾: what is left is of the order of one feature in thirty, not of all of them."""
    dimensions, draws = 30, 60
    one, other = np.linspace(0.5, 2, dimensions), np.linspace(3, 1, dimensions)
    expected = np.sqrt(one * other).sum()
    found, raw = [], []
    for seed in range(draws):
        draw = np.random.default_rng(seed)
        a = draw.normal(size=(degrees, dimensions)) * np.sqrt(one / degrees)
        b = draw.normal(size=(real_degrees, dimensions)) * np.sqrt(other / real_degrees)
        spread = np.linalg.svd(a @ b.T, compute_uv=False)[:dimensions]
        found.append(_overlap(spread, degrees, real_degrees)[0])
        raw.append(spread.sum())
    assert abs(np.mean(found) - expected) < abs(np.mean(raw) - expected) / 10


def test_slopes_of_the_overlap_are_its_derivatives() -> None:
    spread = np.array([0.3, 0.7, 1.0, 2.0])
    _, slopes = _overlap(spread, 20, 50)
    for place in range(4):
        ends = []
        for step in (-1e-5, 1e-5):
            squares = np.square(spread)
            squares[place] += step
            ends.append(_overlap(np.sqrt(squares), 20, 50)[0])
        # As a multiple of the derivative of the plain sum, 1 / 2p.
        assert (ends[1] - ends[0]) / 2e-5 * 2 * spread[place] == pytest.approx(slopes[place], rel=1e-5)


@pytest.mark.parametrize(("degrees", "real_degrees"), [(99, 99), (99, 990), (99, 20000), (20000, 99), (40, 10**5)])
def test_few_nodes_are_as_good_as_many_however_far_apart_the_sizes_are(degrees: int, real_degrees: int) -> None:
    """Against the arcsine law's own quadrature, Gauss's with Chebyshev nodes, which converges with √(n / m) only."""
    spread = np.geomspace(1e-3, 3, 32)
    squares, products = np.diag(np.square(spread)), np.outer(spread, spread)
    angles = (np.arange(4000) + 0.5) * np.pi / 4000
    sizes = (degrees + real_degrees + (degrees - real_degrees) * np.cos(angles)) / 2
    roots = np.sqrt(np.linalg.eigvalsh(squares - products / sizes[:, None, None])).sum(axis=1)
    expected = 2 * np.sqrt(degrees * real_degrees) * (spread.sum() - roots).mean()
    assert _overlap(spread, degrees, real_degrees)[0] == pytest.approx(expected, rel=1e-7)
    assert len(_sizes(degrees, real_degrees, 32)[0]) <= 15


@pytest.mark.parametrize(("count", "real_count"), [(60, 12000), (12000, 60)])
def test_equal_distributions_are_at_distance_zero_with_two_hundred_times_the_images(
    count: int, real_count: int
) -> None:
    found = [estimate_frechet(drawn(count, 16, s), drawn(real_count, 16, 70 + s), seed=s) for s in range(6)]
    error = np.sqrt(np.mean([np.square(one.standard_error) for one in found]) / len(found))
    assert abs(np.mean([one.estimate for one in found])) < 2 * error
    assert np.mean([one.bias for one in found]) > 5 * error


def test_the_estimate_has_no_bias_where_the_distance_itself_is_mostly_bias() -> None:
    dimensions, shift, scale = 24, 0.02, 1.05
    expected = truth(dimensions, shift, scale)
    pairs = [(drawn(150, dimensions, s, shift=shift, scale=scale), drawn(200, dimensions, 500 + s)) for s in range(60)]
    found = [estimate_frechet(generated, real, seed=0) for generated, real in pairs]
    estimates = np.array([one.estimate for one in found])
    error = estimates.std(ddof=1)
    plain = [frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b)) for a, b in pairs[:3]]
    assert plain[0] == pytest.approx(found[0].estimate + found[0].bias, abs=1e-6)
    assert np.mean(plain) - expected > 5 * error
    assert abs(estimates.mean() - expected) < 0.4 * error
    assert np.mean([one.standard_error for one in found]) == pytest.approx(error, rel=0.35)


def test_influences_are_what_more_weight_on_an_image_does() -> None:
    """Against finite differences of the plain distance, where its bias is negligible."""
    generated, real = drawn(4000, 3, 0, shift=0.5, scale=1.5), drawn(4000, 3, 1)
    found = estimate_frechet(generated, real, seed=0)
    reference = FrechetReference(FeatureStatistics.of(real))
    whole = FeatureStatistics.of(generated)
    for index in (0, 1, 2):
        away = generated[index].numpy() - whole.mean
        step = 1e-5
        moved = FeatureStatistics(
            whole.mean + step * away, whole.covariance + step * (np.outer(away, away) - whole.covariance)
        )
        slope = (reference.distance(moved) - reference.distance(whole)) / step
        assert found.generated_influence[index] == pytest.approx(slope, abs=0.02)


def test_classes_of_fixed_sizes_leave_less_to_chance() -> None:
    """Far modes, as many images of each: taken for drawn by chance, the distance comes out far too low."""
    strata = torch.arange(4).repeat_interleave(50)
    modes = 5 * torch.from_numpy(np.random.default_rng(0).normal(size=(4, 6)))[strata]
    pairs = [(modes + drawn(200, 6, s), modes + drawn(200, 6, 900 + s)) for s in range(40)]
    fixed = [estimate_frechet(a, b, seed=0, strata=strata, real_strata=strata).estimate for a, b in pairs]
    chance = [estimate_frechet(a, b, seed=0).estimate for a, b in pairs]
    assert abs(np.mean(fixed)) < 1.2 * np.std(fixed)
    assert np.mean(chance) < -3 * np.std(fixed)


def test_fewer_images_than_features_are_refused_for_the_interval_only() -> None:
    generated, real = drawn(70, 64, 0), drawn(200, 64, 1)
    assert FrechetReference(FeatureStatistics.of(real)).distance_to(generated) > 0
    with pytest.raises(UserError, match="64 features needs at least 80 generated images, found 70"):
        estimate_frechet(generated, real, seed=0)


def test_dead_features_change_nothing() -> None:
    generated, real = drawn(200, 6, 0), drawn(300, 6, 1)
    padded = [torch.cat([side, torch.zeros(len(side), 2, dtype=torch.float64)], dim=1) for side in (generated, real)]
    found, plain = estimate_frechet(padded[0], padded[1], seed=0), estimate_frechet(generated, real, seed=0)
    assert found.estimate == pytest.approx(plain.estimate, abs=1e-10)
    assert found.standard_error == pytest.approx(plain.standard_error, rel=1e-10)
    distances = [FrechetReference.of(b).distance_to(a) for a, b in (padded, (generated, real))]
    assert distances[0] == pytest.approx(distances[1], abs=1e-12)


def test_extrapolation_takes_off_the_generated_side_s_bias() -> None:
    generated, real = drawn(2000, 8, 0, shift=0.1), drawn(20000, 8, 1)
    found = extrapolate_frechet(
        generated, FrechetReference(FeatureStatistics.of(real)), points=15, smallest=100, seed=0
    )
    assert found.value == pytest.approx(truth(8, 0.1, 1.0), abs=0.02)
    assert found.value < found.distances[-1] < found.distances[0]
    assert (found.sizes[0], found.sizes[-1]) == (100, 2000)


def test_extrapolation_refuses_sizes_that_make_no_line() -> None:
    reference = FrechetReference(FeatureStatistics.of(drawn(100, 8, 1)))
    with pytest.raises(UserError, match="expected 8 or more"):
        extrapolate_frechet(drawn(100, 8, 0), reference, points=5, smallest=4, seed=0)
    with pytest.raises(UserError, match="needs at least 120 generated images, found 100"):
        extrapolate_frechet(drawn(100, 8, 0), reference, points=5, smallest=60, seed=0)


def test_the_worst_class_is_named_and_small_classes_are_not_judged() -> None:
    draw = np.random.default_rng(0)
    labels = torch.arange(400) % 4
    real_labels = torch.cat([torch.arange(300) % 3, torch.full((10,), 3)])
    real = torch.from_numpy(draw.normal(size=(310, 30))) + 3 * real_labels[:, None]
    generated = torch.from_numpy(draw.normal(size=(400, 30))) + 3 * labels[:, None]
    generated[labels == 1] += 0.7
    names = ["cat", "dog", "horse", "ship", "never seen"]
    found = class_distances(generated, labels, real, real_labels, names=names, level=0.95, seed=0)
    assert found.worst_first[0].name == "dog"
    assert {row.name for row in found.worst_first[1:]} == {"cat", "horse"}
    assert found.too_small == ("ship",)
    assert {row.directions for row in found.worst_first} == {25}
    assert found.worst_first[0].interval.low > found.worst_first[1].interval.high
    with pytest.raises(UserError, match="needs 40 images of a class on both sides, found at most 8"):
        class_distances(generated[:30], labels[:30], real, real_labels, names=names, level=0.95, seed=0)


def test_the_estimate_rises_with_noise_and_dropped_modes() -> None:
    draw = np.random.default_rng(3)
    modes = torch.from_numpy(np.repeat(4 * draw.normal(size=(5, 6)), 200, axis=0))
    strata = torch.arange(5).repeat_interleave(200)
    real = modes + torch.from_numpy(draw.normal(size=(1000, 6)))
    equal = modes + torch.from_numpy(draw.normal(size=(1000, 6)))
    noisy = [equal + noise * torch.from_numpy(draw.normal(size=(1000, 6))) for noise in (0.0, 0.5, 1.0)]
    dropped = [equal[: 200 * kept] for kept in (5, 4, 2)]
    for worse in (noisy, dropped):
        estimates = [
            estimate_frechet(one, real, seed=0, strata=strata[: len(one)], real_strata=strata) for one in worse
        ]
        values = [one.estimate for one in estimates]
        assert values == sorted(values)
        assert distance_interval(estimates[0], 0.95).low == pytest.approx(0, abs=0.05)
        assert distance_interval(estimates[1], 0.95).low > 0


@pytest.mark.parametrize("count", [12, 40])
def test_few_real_features_are_their_own_root(count: int) -> None:
    real, generated = drawn(count, 30, 1), drawn(count + 3, 30, 2)
    expected = FrechetReference(FeatureStatistics.of(real))
    found = FrechetReference.of(real)
    assert found.root.shape == (30, min(count, 30))
    for value in (found.distance_to(generated), found.distance(FeatureStatistics.of(generated))):
        assert value == pytest.approx(expected.distance_to(generated), rel=1e-9)
