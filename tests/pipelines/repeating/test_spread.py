import numpy as np
import pytest
from scipy import stats

from pipelines.repeating.spread import Spread, difference, joint_level

LEVEL = 0.95


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (5, 3), (5, 5)])
def test_means_and_differences_are_those_of_scipy(sizes: tuple[int, int]) -> None:
    draw = np.random.default_rng(sum(sizes))
    one, other = draw.normal(3, 1, sizes[0]), draw.normal(2, 4, sizes[1])
    spread = Spread.of(one.tolist(), LEVEL)
    low, high = stats.t.interval(LEVEL, len(one) - 1, loc=one.mean(), scale=stats.sem(one))
    assert (spread.mean.estimate, spread.deviation) == pytest.approx((one.mean(), one.std(ddof=1)))
    assert (spread.mean.low, spread.mean.high) == pytest.approx((low, high))
    apart = difference(spread, Spread.of(other.tolist(), LEVEL), LEVEL)
    reference = stats.ttest_ind(one, other, equal_var=False).confidence_interval(LEVEL)
    assert (apart.low, apart.high) == pytest.approx((reference.low, reference.high))


def test_the_interval_holds_what_it_promises() -> None:
    """Five seeds against three of another spread, many times over: the truth is left out in one case of ten."""
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        one, other = (Spread.of(draw.normal(1, scale, n).tolist(), 0.9) for scale, n in ((1, 5), (2, 3)))
        apart = difference(one, other, 0.9)
        held += apart.low <= 0 <= apart.high
    assert held / 2000 == pytest.approx(0.9, abs=0.03)


def test_without_any_spread_the_difference_is_exact() -> None:
    same = Spread.of([2.0, 2.0, 2.0], LEVEL)
    apart = difference(same, Spread.of([1.0, 1.0], LEVEL), LEVEL)
    assert (apart.low, apart.estimate, apart.high) == (1.0, 1.0, 1.0)


def test_several_intervals_hold_together() -> None:
    assert joint_level(0.95, 1) == pytest.approx(0.95)
    assert joint_level(0.95, 5) == pytest.approx(0.99)
