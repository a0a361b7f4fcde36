"""Trends of short trainings against laws that are known."""

import numpy as np
import pytest

from pipelines.forecasting.fit import Trend, most_helped
from pipelines.forecasting.trials import CELLS, REPEATS

LEVEL = 0.95
PICTURES, LENGTH = (np.tile([cell[side] for cell in CELLS], REPEATS) for side in (0, 1))


def of(a: float, b: float, c: float, noise: float, draw: np.random.Generator) -> Trend:
    values = a + b * np.log(PICTURES) + c * np.log(LENGTH) + noise * draw.normal(size=len(PICTURES))
    return Trend.of(PICTURES.tolist(), LENGTH.tolist(), values.tolist())


@pytest.mark.parametrize(("pictures", "length"), [(2.0, 1.0), (1.0, 5.0)])
def test_intervals_contain_a_further_training_as_often_as_they_say(pictures: float, length: float) -> None:
    draw = np.random.default_rng(0)
    truth, hits = 3 - 0.2 * np.log(pictures) - 0.5 * np.log(length), 0
    for _ in range(2000):
        found = of(3, -0.2, -0.5, 0.1, draw).at(pictures, length, LEVEL)
        hits += found.low <= truth + 0.1 * draw.normal() <= found.high
    assert hits / 2000 == pytest.approx(LEVEL, abs=0.015)


def test_a_law_without_noise_is_found_and_what_measuring_adds_widens_it() -> None:
    trend = of(3, -0.2, 0.4, 0.0, np.random.default_rng(0))
    assert trend.coefficients == pytest.approx([3, -0.2, 0.4])
    assert trend.at(5, 1, LEVEL).estimate == pytest.approx(3 - 0.2 * np.log(5))
    flat = Trend.of(PICTURES.tolist(), LENGTH.tolist(), [0.0] * len(PICTURES), least_variance=0.01)
    near, far = (flat.at(pictures, 1, LEVEL) for pictures in (1, 5))
    assert 0.2 < near.high < far.high


def test_what_pictures_do_is_told_where_they_do_something() -> None:
    draw = np.random.default_rng(1)
    by_chance = sum(of(3, 0.0, -0.5, 0.1, draw).is_told("pictures", LEVEL) for _ in range(1000))
    assert by_chance / 1000 == pytest.approx(1 - LEVEL, abs=0.02)
    assert of(3, -0.5, 0.0, 0.05, draw).is_told("pictures", LEVEL)
    assert of(3, 0.0, -0.5, 0.05, draw).is_told("length", LEVEL)


def test_the_class_that_pictures_help_is_named_and_none_by_chance() -> None:
    draw, names = np.random.default_rng(2), [f"class {each}" for each in range(10)]

    def named(helped: float) -> str | None:
        # What the seed does to all of them is no difference between classes.
        falls = draw.normal(size=(10, 2)) + 20 * draw.normal(size=2)
        falls[3] += helped
        falls += 100
        return most_helped(dict(zip(names, falls.tolist(), strict=True)), LEVEL)

    assert sum(named(0.0) is not None for _ in range(1000)) / 1000 < 1.5 * (1 - LEVEL)
    assert named(20.0) == "class 3"
    assert most_helped({"only": [1.0, 2.0]}, LEVEL) is None
    assert most_helped({"one": [-3.0, -3.1], "other": [-9.0, -9.1]}, LEVEL) is None
