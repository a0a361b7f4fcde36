"""Arcs, path lengths and rejection against their closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.errors import UserError
from ganlib.latents import spherical
from ganlib.metrics.latent import (
    Calibration,
    acceptance,
    gamma_for_share,
    path_lengths,
    perceptual_path_length,
)


def latents(count: int, seed: int, dimensions: int = 8) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, dimensions)))


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(0, 1000), st.integers(2, 40))
def test_arcs_go_evenly_in_angle_and_length_and_stay_in_their_plane(
    position: float, seed: int, dimensions: int
) -> None:
    a, b = latents(1, seed, dimensions), latents(1, seed + 1, dimensions)
    point = spherical(a, b, torch.tensor([position]))

    def angle(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(torch.acos((x[0] @ y[0] / x.norm() / y.norm()).clamp(-1, 1)))

    assert angle(a, point) == pytest.approx(position * angle(a, b), abs=1e-6)
    assert angle(point, b) == pytest.approx((1 - position) * angle(a, b), abs=1e-6)
    assert float(point.norm()) == pytest.approx(float(torch.lerp(a.norm(), b.norm(), position)))


def test_ends_nearly_equal_and_opposite_latents() -> None:
    a, b = latents(5, 0), latents(5, 1)
    torch.testing.assert_close(spherical(a, b, torch.zeros(5)), a)
    torch.testing.assert_close(spherical(a, b, torch.ones(5)), b)
    torch.testing.assert_close(spherical(a, a, torch.full((5,), 0.3)), a)
    torch.testing.assert_close(spherical(a, a + 1e-9, torch.full((5,), 0.3)), a, rtol=1e-6, atol=1e-6)
    with pytest.raises(UserError, match="exactly opposite"):
        spherical(a, -a, torch.zeros(5))
    with pytest.raises(UserError, match="length zero"):
        spherical(a, torch.zeros_like(a), torch.zeros(5))


def test_path_lengths_of_a_linear_generator_are_squared_speeds() -> None:
    """On the unit sphere, a generator that multiplies by c moves at c times the angle."""
    a, b = (torch.nn.functional.normalize(latents(40, seed), dim=1) for seed in (0, 1))
    positions = torch.from_numpy(np.random.default_rng(2).random(40))
    found = path_lengths(lambda z: 3 * z, a, b, positions, step=1e-4, batch_size=7)
    angles = torch.acos((a * b).sum(dim=1))
    np.testing.assert_allclose(found, (9 * angles.square()).numpy(), rtol=1e-5)
    np.testing.assert_allclose(
        path_lengths(lambda z: 3 * z, a, b, positions, step=1e-4, batch_size=40), found, rtol=1e-9
    )


def test_the_mean_path_length_without_extremes() -> None:
    lengths = np.random.default_rng(0).gamma(2, size=1000)
    found = perceptual_path_length(lengths, level=0.95, cut=0.01)
    spoiled = perceptual_path_length(np.append(lengths, [1e9] * 3), level=0.95, cut=0.01)
    assert found.low < found.estimate < found.high
    assert spoiled.estimate == pytest.approx(found.estimate, rel=0.02)
    with pytest.raises(UserError, match="not finite"):
        perceptual_path_length(np.append(lengths, np.nan), level=0.95, cut=0.01)
    with pytest.raises(UserError, match="needs at least 100 pairs of images, found 5"):
        perceptual_path_length(lengths[:5], level=0.95, cut=0.01)


def test_calibration_finds_the_log_odds_of_a_critic_on_another_scale() -> None:
    """Real N(1, 1) against generated N(0, 1): log-odds x - ½; the critic shows 4 - 5 of it instead."""
    draw = np.random.default_rng(0)
    real, generated = (torch.from_numpy(draw.normal(m, 1, 40000)) for m in (1, 0))
    found = Calibration.fit(5 * (real - 0.5) + 4, 5 * (generated - 0.5) + 4)
    assert found.slope == pytest.approx(0.2, rel=0.03)
    assert found.offset == pytest.approx(-0.8, abs=0.03)
    with pytest.raises(UserError, match="cannot be calibrated"):
        Calibration.fit(generated, real)
    with pytest.raises(UserError, match="cannot be calibrated"):
        Calibration.fit(real[:100] + 100, generated[:100])


def test_rejection_turns_the_generated_distribution_into_the_real_one() -> None:
    """Real N(½, ½²) within generated N(0, 1): with the exact ratio, gamma 0 keeps real ones (Azadi, eq. 4)."""
    draw = np.random.default_rng(0)
    generated = torch.from_numpy(draw.normal(size=200_000))
    logits = -2 * (generated - 0.5).square() + generated.square() / 2 + np.log(2)
    chances = acceptance(logits, float(logits.max()), gamma=0.0)
    assert bool(((chances >= 0) & (chances <= 1)).all())
    kept = generated[torch.from_numpy(draw.random(200_000)) < chances]
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(kept.std()) == pytest.approx(0.5, abs=0.02)
    # Eq. 8 with gamma 0 is the ratio of the logits' exponentials.
    torch.testing.assert_close(chances, (logits - logits.max()).exp(), rtol=1e-6, atol=1e-6)


def test_gamma_for_a_share_keeps_it() -> None:
    logits = latents(5000, 0, 1)[:, 0]
    for share in (0.05, 0.5, 0.9):
        gamma = gamma_for_share(logits, float(logits.max()), share)
        assert float(acceptance(logits, float(logits.max()), gamma=gamma).mean()) == pytest.approx(share, abs=1e-6)
    assert gamma_for_share(logits, float(logits.max()), 0.05) > gamma_for_share(logits, float(logits.max()), 0.5)
