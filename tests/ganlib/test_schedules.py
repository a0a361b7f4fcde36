"""Schedules against their closed forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib.config import Schedule
from ganlib.schedules import value_at


def schedule(shape="linear", *, start=2.0, end=0.5, over=1000, warmup=0) -> Schedule:
    return Schedule(shape=shape, start=start, end=end, over_images=over, warmup_images=warmup)


def test_a_number_is_a_constant() -> None:
    assert value_at(0.3, 0) == value_at(0.3, 10**9) == 0.3


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_start_middle_end_and_after(shape: str) -> None:
    figure = schedule(shape)
    values = [value_at(figure, seen) for seen in (0, 500, 1000, 5000)]
    assert values == pytest.approx([2.0, 1.25, 0.5, 0.5])


def test_cosine_is_flat_at_both_ends() -> None:
    figure = schedule("cosine")
    assert value_at(figure, 250) == pytest.approx(2.0 - 1.5 * (1 - 2**-0.5) / 2)


def test_warm_up_scales_from_zero() -> None:
    figure = schedule(warmup=100)
    assert value_at(figure, 0) == 0.0
    assert value_at(figure, 50) == pytest.approx(value_at(schedule(), 50) / 2)
    assert value_at(figure, 100) == value_at(schedule(), 100)


@given(st.sampled_from(["linear", "cosine"]), st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 3000))
def test_always_between_the_ends(shape: str, start: float, end: float, seen: int) -> None:
    value = value_at(schedule(shape, start=start, end=end), seen)
    assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9
