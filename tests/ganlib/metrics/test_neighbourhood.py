"""Precision, recall, density and coverage against torch-fidelity, brute force and constructed sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_prc import prc_features_to_metric

from ganlib.errors import UserError
from ganlib.metrics.distances import nearest
from ganlib.metrics.neighbourhood import (
    Balls,
    Neighbourhood,
    _design_effect,
    _Part,
    half_differences,
    measure_neighbourhood,
    remoteness,
)


def drawn(count: int, seed: int, *, dimensions: int = 3, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(scale * np.random.default_rng(seed).normal(size=(count, dimensions)))


def measured(generated: torch.Tensor, real: torch.Tensor, neighbours: int, **tiles: int) -> Neighbourhood:
    sides = (Balls.of(generated, neighbours, side="generated"), Balls.of(real, neighbours, side="real"))
    return measure_neighbourhood(*sides, **tiles)


def brute(generated: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def radii(points: np.ndarray) -> np.ndarray:
        return np.array([sorted(np.linalg.norm(points - point, axis=1))[k] for point in points])

    apart = np.linalg.norm(generated[:, None] - real, axis=2)
    inside = apart <= radii(real)
    recalled = apart <= radii(generated)[:, None]
    return inside.any(1).mean(), recalled.any(0).mean(), inside.sum() / (k * len(generated)), inside.any(0).mean()


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 30), st.integers(6, 30), st.integers(1, 5), st.integers(1, 11), st.integers(0, 1000))
def test_equals_brute_force_and_torch_fidelity_in_any_tiles(n: int, m: int, k: int, tile: int, seed: int) -> None:
    generated, real = drawn(n, seed, scale=1.3), drawn(m, seed + 1)
    found = measured(generated, real, k, rows=tile, columns=tile + 2)
    figures = (found.precision, found.recall, found.density, found.coverage)
    assert figures == pytest.approx(brute(generated.numpy(), real.numpy(), k))
    theirs = prc_features_to_metric(
        generated, real, prc_neighborhood=k, prc_batch_size=10000, save_cpu_ram=False, verbose=False
    )
    assert (found.precision, found.recall) == pytest.approx((theirs["precision"], theirs["recall"]))
    assert found == measured(generated.flip(0), real.flip(0), k)


def test_ties_fall_the_same_way_however_rows_are_cut() -> None:
    """Copies of the real images lie exactly on the rims of their neighbours' balls, far from the origin."""
    real = drawn(60, 0) + 1000
    expected = measured(real.clone(), real, 4)
    assert (expected.precision, expected.recall, expected.coverage) == (1, 1, 1)
    # Each ball holds its centre and its k neighbours.
    assert expected.density == pytest.approx(5 / 4)
    for tile in (1, 7, 60):
        assert measured(real.clone(), real, 4, rows=tile, columns=tile) == expected


def test_constructed_sets() -> None:
    """Real images on two lines, generated ones on one of them: all precise, half recalled, half covered."""
    line = torch.arange(20.0, dtype=torch.float64)[:, None] * torch.tensor([[1.0, 0.0]])
    real = torch.cat([line, line + torch.tensor([0.0, 100.0])])
    found = measured(line + torch.tensor([0.25, 0.0]), real, 2)
    assert (found.precision, found.recall, found.coverage) == (1, 0.5, 0.5)
    away = measured(line + 1e4, real, 2)
    assert away == Neighbourhood(0, 0, 0, 0)


def test_an_outlier_deceives_precision_but_not_density() -> None:
    """Naeem et al. 2020, figure 1: one far real image has a ball that takes in everything generated around it."""
    real = torch.cat([drawn(100, 0, dimensions=2), torch.tensor([[60.0, 0.0]], dtype=torch.float64)])
    found = measured(drawn(100, 1, dimensions=2) + torch.tensor([30.0, 0.0]), real, 5)
    assert found.precision == 1
    assert found.density < 0.25


def test_shrinking_loses_recall_and_wandering_loses_precision() -> None:
    real = drawn(300, 0)
    shrunk = [measured(drawn(300, 1, scale=scale), real, 5) for scale in (1.0, 0.6, 0.3)]
    assert [one.recall for one in shrunk] == sorted((one.recall for one in shrunk), reverse=True)
    assert [one.coverage for one in shrunk] == sorted((one.coverage for one in shrunk), reverse=True)
    wide = [measured(drawn(300, 1, scale=scale), real, 5) for scale in (1.0, 1.6, 2.5)]
    assert [one.precision for one in wide] == sorted((one.precision for one in wide), reverse=True)
    assert [one.density for one in wide] == sorted((one.density for one in wide), reverse=True)


def test_half_differences_have_the_variance_of_fresh_samples() -> None:
    fresh = np.array(
        [
            [one.precision, one.recall, one.density, one.coverage]
            for one in (measured(drawn(120, s, scale=1.2), drawn(120, 900 + s), 3) for s in range(120))
        ]
    ).std(axis=0, ddof=1)
    found = [
        half_differences([(drawn(120, s, scale=1.2), None)], (drawn(120, 900 + s), None), 3, splits=20, seed=s)[0]
        for s in range(12)
    ]
    seen = np.sqrt(np.square(np.array(found)[:, :, 0]).mean(axis=(0, 1)))
    assert seen / fresh == pytest.approx(np.ones(4), abs=0.3)


def test_half_differences_of_a_part_are_scaled_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = drawn(800, 0, scale=1.2), drawn(800, 1)
    whole = half_differences([(generated, None)], (real, None), 3, splits=60, seed=0)[0]
    monkeypatch.setattr("ganlib.metrics.neighbourhood.LARGEST", 300)
    part = half_differences([(generated, None)], (real, None), 3, splits=60, seed=0)[0]
    ratio = np.sqrt(np.square(part).mean(axis=(0, 1)) / np.square(whole).mean(axis=(0, 1)))
    assert bool(((ratio > 0.4) & (ratio < 2.5)).all())


def test_a_few_real_images_vary_as_much_beside_a_part_of_many_generated_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen times as many generated images, of which a part is taken: both sides' parts are the same share of all."""
    monkeypatch.setattr("ganlib.metrics.neighbourhood.LARGEST", 150)

    def sides(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        return drawn(3000, seed, dimensions=4, scale=1.2), drawn(200, 900 + seed, dimensions=4)

    fresh = []
    for seed in range(100):
        generated, real = sides(seed)
        no_balls = Balls(generated, torch.zeros(3000, dtype=torch.float64), 5)
        one = measure_neighbourhood(no_balls, Balls.of(real, 5, side="real"))
        fresh.append([one.precision, one.density])
    halves = []
    for seed in range(8):
        generated, real = sides(seed)
        halves.append(half_differences([(generated, None)], (real, None), 5, splits=20, seed=seed)[0][:, 0, ::2])
    seen = np.sqrt(np.square(np.concatenate(halves)).mean(axis=0))
    assert seen / np.std(fresh, axis=0, ddof=1) == pytest.approx(np.ones(2), abs=0.3)


def test_many_neighbours_of_a_part_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nearly the most neighbours allowed a part has enough images for them: its halves' figures are the same."""
    generated, real = drawn(1500, 0, scale=1.2), drawn(300, 1)
    whole = half_differences([(generated, None)], (real, None), 36, splits=20, seed=0)[1]
    monkeypatch.setattr("ganlib.metrics.neighbourhood.LARGEST", 100)
    part = half_differences([(generated, None)], (real, None), 36, splits=20, seed=0)[1]
    assert part == pytest.approx(whole, abs=0.02)


@pytest.mark.parametrize(("count", "neighbours"), [(100, 12), (480, 60), (1500, 60), (1500, 1)])
def test_radii_in_a_quarter_are_those_of_its_images_by_themselves(count: int, neighbours: int) -> None:
    features = drawn(count, 0)
    part = _Part((features, None), 1.0, neighbours, np.random.default_rng(0))
    half, _ = part.halves(torch.randperm(count, generator=torch.Generator().manual_seed(0)))
    for place in part.halves(half):
        alone = nearest(part.features[place], part.features[place], neighbours, own=True)[0][:, -1]
        torch.testing.assert_close(part.square_radii(place).sqrt(), alone)


def test_a_design_effect_compares_with_independent_images() -> None:
    """Shares of independent images have the variance p (1 - p) / n, and the figures' halves come with their means."""
    draw = np.random.default_rng(0)
    shares = draw.binomial(80, [0.3, 0.9, 0.5, 0.98], size=(4000, 2, 4)) / 80
    effects = _design_effect(shares)
    assert effects[[0, 1, 3]] == pytest.approx(np.full(3, 1 / 80), rel=0.1)
    assert effects[2] == pytest.approx(0.25 / 80, rel=0.1)
    assert _design_effect(np.ones((5, 2, 4))).tolist() == [0, 0, 0, 0]
    generated, real = drawn(400, 0, scale=1.2), drawn(400, 1)
    _, middles = half_differences([(generated, None), (real + 0.1, None)], (real, None), 3, splits=20, seed=0)
    for middle, side in zip(middles, (generated, real + 0.1), strict=True):
        half = measured(side[::2], real[1::2], 3)
        assert middle == pytest.approx([half.precision, half.recall, half.density, half.coverage], abs=0.12)


def test_nearest_neighbours_with_copies_and_pixels() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 12), dtype=np.uint8))
    distances, indices = nearest(pixels[:5], pixels, 3, rows=2, columns=7)
    assert distances[:, 0].tolist() == [0] * 5
    assert indices[:, 0].tolist() == list(range(5))
    own, others = nearest(pixels, pixels, 1, own=True)
    for rows, columns in ((3, 5), (7, 2), (1, 40), (40, 1)):
        again = nearest(pixels, pixels, 1, own=True, rows=rows, columns=columns)
        torch.testing.assert_close(again, (own, others))
    assert bool((own > 0).all())
    assert not bool((others[:, 0] == torch.arange(40)).any())
    exact = (pixels[:5, None].double() - pixels.double()).norm(dim=2).sort(dim=1).values[:, :3]
    torch.testing.assert_close(distances, exact)


def test_too_few_images_are_one_line() -> None:
    with pytest.raises(UserError, match=r"the neighbour number 5 needs at least 6 real images, found 5"):
        Balls.of(drawn(5, 0), 5, side="real")
    with pytest.raises(UserError, match="needs at least 100 real images, found 60"):
        half_differences([(drawn(200, 0), None)], (drawn(60, 1), None), 3, splits=20, seed=0)
    few = [(drawn(count, 0), None) for count in (200, 60)]
    with pytest.raises(UserError, match=r"needs at least 100 generated images, found 60; raise evaluate\.samples"):
        half_differences(few, (drawn(200, 1), None), 3, splits=20, seed=0)
    with pytest.raises(UserError, match=r"evaluate\.neighbours=26 \(fewer need fewer images\) needs at least 208 real"):
        half_differences([(drawn(300, 0), None)], (drawn(207, 1), None), 26, splits=20, seed=0)


def test_remoteness_is_the_inverse_of_realism() -> None:
    draw = torch.Generator().manual_seed(0)
    real, others = torch.randn(60, 4, generator=draw), 2 * torch.randn(9, 4, generator=draw)
    balls = Balls.of(real, 3, side="real")
    # Kynkäänniemi et al. 2019, eq. 3, image by image.
    distances = torch.cdist(real.double(), real.double())
    radii = distances.sort(dim=1).values[:, 3]
    kept = radii <= radii.median()
    realism = (radii[kept] / torch.cdist(others.double(), real[kept].double())).amax(dim=1)
    assert torch.allclose(remoteness(others, balls), 1 / realism, rtol=1e-9)
    inside = remoteness(real[kept], balls)
    assert (inside <= 1e-6).all()
    assert (remoteness(100 + others, balls) > 1).all()


def test_images_that_occur_often_have_no_surroundings() -> None:
    balls = Balls.of(torch.zeros(10, 3), 3, side="real")
    found = remoteness(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), balls)
    assert found[0] == 0
    assert 1e50 < found[1] < torch.inf
