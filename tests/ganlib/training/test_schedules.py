"""Schedules."""

import pytest

from ganlib.training.schedules import linear


def test_linear_meets_both_ends_and_the_middle() -> None:
    assert [linear(at, start=4.0, end=1.0, over_images=100) for at in (0, 50, 100, 900)] == [
        4.0,
        pytest.approx(2.5),
        1.0,
        1.0,
    ]
