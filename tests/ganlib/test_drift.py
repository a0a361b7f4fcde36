"""The two-sample test errs as often as it says, sees what is there, and measures the distance that KID does."""

import numpy as np
import pytest
import torch

from ganlib.drift import permutation_test
from ganlib.errors import UserError
from ganlib.metrics.kernel import kernel_distance


def features(seed: int, count: int, shift: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).exponential(size=(count, 8)) + shift).float()


def test_it_errs_as_often_as_it_says() -> None:
    values = [
        permutation_test(features(2 * at, 25), features(2 * at + 1, 40), permutations=99, seed=at).p_value
        for at in range(400)
    ]
    for rate in (0.05, 0.2, 0.5):
        wrong = sum(value <= rate for value in values)
        assert abs(wrong - 400 * rate) < 4 * (400 * rate * (1 - rate)) ** 0.5


def test_it_sees_another_kind_of_images() -> None:
    found = permutation_test(features(0, 60, shift=0.5), features(1, 100), permutations=999, seed=0)
    assert found.p_value == 0.001
    assert (found.new, found.known) == (60, 100)


def test_the_distance_is_that_of_kid() -> None:
    new, known = features(0, 30), features(1, 50)
    found = permutation_test(new, known, permutations=9, seed=0)
    assert found.distance == pytest.approx(kernel_distance(new, known), rel=1e-9)
    again = permutation_test(new, known, permutations=9, seed=0)
    assert again == found


def test_too_few_images_are_told() -> None:
    with pytest.raises(UserError, match="found 5 new and 50 known images, expected 20 of each"):
        permutation_test(features(0, 5), features(1, 50), permutations=9, seed=0)
