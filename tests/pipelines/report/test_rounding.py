"""Figures with no more digits than they deserve."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib.evaluation.record import Interval
from pipelines.report import rounding


def interval(low: float, estimate: float, high: float) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, level=0.95)


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (3.5208, None, "3.52"),
        (0.012345, None, "0.0123"),
        (12345.6, None, "12,346"),
        (0.0, None, "0"),
        (-0.9134, 2, "−0.91"),
        (-0.001, 2, "0.00"),
        (128000, 0, "128,000"),
    ],
)
def test_number(value: float, decimals: int | None, shown: str) -> None:
    assert rounding.number(value, decimals) == shown


def test_an_interval_decides_the_digits() -> None:
    assert rounding.estimate(interval(1.2139, 1.3812, 1.5485)) == "1.38 (1.21 to 1.55)"
    assert rounding.estimate(interval(195.9, 214.13, 232.3)) == "214 (196 to 232)"
    assert rounding.estimate(interval(-0.0312, 0.0912, 0.2136)) == "0.09 (−0.03 to 0.21)"
    assert rounding.estimate(interval(1.0, 1.0, 1.0)) == "1.00 (1.00 to 1.00)"


@given(st.floats(-1e4, 1e4), st.floats(1e-6, 1e3))
def test_what_is_shown_is_within_a_tenth_of_the_half_width(middle: float, half: float) -> None:
    found = interval(middle - half, middle, middle + half)
    shown = float(rounding.number(middle, rounding.decimals_of(found)).replace("−", "-").replace(",", ""))
    assert abs(shown - middle) <= max(0.1 * half, 0.5 if half >= 10 else 0) + 1e-9


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.95, "95 %"),
        (0.9963, "99.63 %"),
        (0.0043, "0.43 %"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (-0.001, "−0.1 %"),
        (1 / 3, "33 %"),
    ],
)
def test_percent(share: float, shown: str) -> None:
    assert rounding.percent(share).replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(("value", "shown"), [(0.43, "p = 0.43"), (0.0432, "p = 0.043"), (0.0004, "p < 0.001")])
def test_probability(value: float, shown: str) -> None:
    assert rounding.probability(value) == shown
