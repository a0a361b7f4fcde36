"""Planted copies are found, honest generators are not accused, and the statistics are the published ones."""

import numpy as np
import pytest
import torch
from scipy import stats

from ganlib.errors import UserError
from ganlib.metrics.memorisation import (
    Closeness,
    Memorisation,
    TrainingSet,
    copying_statistic,
    measure_memorisation,
)
from ganlib.metrics.tail import _chances, tail_p_value

MIDDLES = np.random.default_rng(77).normal(size=(5, 12))
SPREAD = (1 + np.arange(12)) ** -0.5


def drawn(count: int, draw: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    return MIDDLES[draw.integers(5, size=count)] + scale * SPREAD * draw.normal(size=(count, 12))


def planted(
    seed: int, *, share: float, noise: float, count: int = 1000, scale: float = 1.0
) -> tuple[Memorisation, int]:
    draw = np.random.default_rng(seed)
    training = drawn(1500, draw)
    generated, copies = drawn(count, draw, scale), round(share * count)
    chosen = draw.choice(1500, copies, replace=False)
    generated[:copies] = training[chosen] + noise * training.std() * draw.normal(size=(copies, 12))
    known = TrainingSet.of(torch.from_numpy(training))
    held_out = known.closeness(torch.from_numpy(drawn(1000, draw)))
    closeness = known.closeness(torch.from_numpy(generated))
    few = training[:200] + 1e-3 * training.std() * draw.normal(size=(200, 12))
    sides = closeness, held_out, known.closeness(torch.from_numpy(few))
    found = measure_memorisation(*sides, twins=np.zeros(1000, dtype=bool), level=0.95, suspects=copies or 5, seed=seed)
    assert (found.near_duplicates, found.held_out) == (0, 1000)
    if copies and noise == 0:
        assert {(one.generated, one.training) for one in found.suspects} == set(enumerate(chosen.tolist()))
        assert all(one.distance == 0 == one.ratio for one in found.suspects)
    return found, copies


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_one_percent_of_copies_is_found_and_listed(noise: float) -> None:
    for seed in range(4):
        found, copies = planted(seed, share=0.01, noise=noise)
        assert found.p_value < 0.01
        assert found.share.low > 0
        assert found.share.estimate == pytest.approx(0.01, abs=0.004)
        assert sum(one.generated < copies for one in found.suspects) >= 0.9 * copies


def test_honest_and_merely_cautious_generators_are_not_accused() -> None:
    """A generator of little variance is nearer to everything, of which the ratio of distances takes little notice."""
    for scale, accused in ((1.0, 0), (1.5, 0), (0.6, 1)):
        found = [planted(seed, share=0, noise=0, scale=scale)[0] for seed in range(6)]
        assert sum(one.p_value < 0.01 for one in found) <= accused
        assert sum(one.share.low > 0 for one in found) <= accused


def test_the_statistics_of_a_full_copy() -> None:
    found, _ = planted(0, share=1.0, noise=0.0)
    assert found.authenticity.estimate == 0
    assert found.held_out_authenticity > 0.3
    assert found.copying < -30
    assert found.share.low > 0.98


def test_copies_of_duplicated_training_images_and_uint8_pixels() -> None:
    draw = np.random.default_rng(0)
    training = draw.integers(0, 256, (300, 48), dtype=np.uint8)
    training[1] = training[0]
    known = TrainingSet.of(torch.from_numpy(training))
    seen = known.closeness(
        torch.from_numpy(np.stack([training[0], training[5], draw.integers(0, 256, 48, dtype=np.uint8)]))
    )
    assert seen.ratio[:2].tolist() == [0, 0]
    assert seen.nearest[:2].tolist() == [0, 5]
    assert seen.ratio[2] > 0.7
    assert seen.authentic.tolist() == [False, False, seen.distance[2] > known.spacing[seen.nearest[2]]]


@pytest.mark.parametrize("tied", [0.02, 0.1, 0.6])
def test_exact_copies_in_the_data_are_no_memorisation(tied: float) -> None:
    """As many on both sides: no share beyond; half as many again generated ones: that half."""

    def seen(count: int, share: float) -> Closeness:
        ratio = np.linspace(0.1, 1, count)
        ratio[: round(share * count)] = 0
        return Closeness(np.zeros(count, dtype=np.int64), ratio, ratio, ratio > 0.5)

    equal, more = (
        measure_memorisation(
            seen(4000, share),
            seen(500, tied),
            seen(200, 1.0),
            twins=np.zeros(500, dtype=bool),
            level=0.95,
            suspects=1,
            seed=0,
        ).share
        for share in (tied, 1.5 * tied)
    )
    assert equal.estimate == pytest.approx(0)
    assert equal.low < 0 < equal.high
    assert more.estimate == pytest.approx(0.5 * tied)
    assert more.low < 0.5 * tied < more.high


@pytest.mark.parametrize(("twins", "found"), [(0.0, 1.0), (0.05, 0.95), (0.3, 0.7), (1.0, 0.0)])
def test_copies_are_told_as_far_as_held_out_images_have_no_near_duplicates(twins: float, found: float) -> None:
    """A share of the scenes has a view on either side of the split; the generator gives training images with noise."""
    draw = np.random.default_rng(3)
    scenes = drawn(2000, draw)
    seen_twice, training = round(twins * 400), scenes[:1600]
    views = training[:seen_twice] + 0.007 * draw.normal(size=(seen_twice, 12))
    held_out = np.concatenate([views, scenes[1600 + seen_twice :]])

    def copies(count: int) -> np.ndarray:
        return training[draw.choice(len(training), count)] + 0.01 * draw.normal(size=(count, 12))

    known = TrainingSet.of(torch.from_numpy(training))
    sides = (known.closeness(torch.from_numpy(side)) for side in (copies(1000), held_out, copies(200)))
    measured = measure_memorisation(*sides, twins=np.arange(400) < 2, level=0.95, suspects=1, seed=0)
    assert measured.held_out == 400
    assert measured.near_duplicates / 400 == pytest.approx(twins, abs=0.05)
    assert measured.share.estimate == pytest.approx(found, abs=0.13)


def test_the_copying_statistic_is_mann_whitney_s_with_ties() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.integers(0, 12, 80).astype(float), draw.integers(0, 15, 60).astype(float)
    expected = stats.mannwhitneyu(one, other, alternative="less", method="asymptotic", use_continuity=False)
    assert stats.norm.cdf(copying_statistic(one, other)) == pytest.approx(expected.pvalue, rel=1e-9)
    assert copying_statistic(np.ones(10), np.ones(12)) == 0


def test_chances_are_hypergeometric() -> None:
    lengths = np.array([1, 3, 8])
    found = _chances(lengths, 20, 7)
    for row, length in enumerate(lengths):
        expected = stats.hypergeom(27, 20, length).sf(np.arange(9) - 1)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_p_values_of_equal_samples_are_even() -> None:
    draw = np.random.default_rng(5)
    found = [tail_p_value(draw.random(150), draw.random(200), seed=s) for s in range(150)]
    assert np.mean(np.array(found) <= 0.05) <= 0.1
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.17)


def test_too_few_images_are_one_line() -> None:
    with pytest.raises(UserError, match="needs at least 100 training images, found 40"):
        TrainingSet.of(torch.zeros(40, 3))
    known = TrainingSet.of(torch.from_numpy(drawn(120, np.random.default_rng(0))))
    few = known.closeness(torch.from_numpy(drawn(30, np.random.default_rng(1))))
    many = known.closeness(torch.from_numpy(drawn(200, np.random.default_rng(2))))
    with pytest.raises(UserError, match="needs at least 100 held-out images, found 30"):
        measure_memorisation(many, few, many, twins=np.zeros(30, dtype=bool), level=0.95, suspects=3, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_error_rates_over_a_hundred_repetitions() -> None:
    honest = [planted(seed, share=0, noise=0)[0] for seed in range(100)]
    assert np.mean([one.p_value < 0.05 for one in honest]) <= 0.1
    assert np.mean([one.share.low > 0 for one in honest]) <= 0.05
    for noise in (0.0, 0.03):
        copied = [planted(seed, share=0.01, noise=noise)[0] for seed in range(100)]
        assert np.mean([one.p_value < 0.05 for one in copied]) >= 0.95
        assert np.mean([one.share.low > 0 for one in copied]) >= 0.9
