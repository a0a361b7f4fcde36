"""Kernel distance against torch-fidelity, its definition and the truth."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ganlib.errors import UserError
from ganlib.metrics.kernel import estimate_kernel_distance, kernel_distance, kernel_distances


def drawn(count: int, seed: int, *, shift: float = 0.0, dimensions: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, dimensions)) + shift)


def test_subsets_equal_torch_fidelity() -> None:
    generated, real = drawn(90, 0, shift=0.3).float(), drawn(120, 1).float()
    found = kernel_distances(generated, real, subsets=7, subset_size=40, seed=5)
    expected = kid_features_to_metric(
        generated.double(), real.double(), kid_subsets=7, kid_subset_size=40, rng_seed=5, verbose=False
    )
    assert found.mean() == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-10)
    assert found.std() == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-10)


def test_all_images_at_once_by_definition_in_any_tiles_and_order(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = drawn(13, 0, shift=0.5), drawn(9, 1)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x @ y / 6 + 1) ** 3)

    own = np.mean([kernel(a[i], a[j]) for i in range(13) for j in range(13) if i != j])
    other = np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    cross = np.mean([kernel(x, y) for x in a for y in b])
    expected = own + other - 2 * cross
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr("ganlib.metrics.kernel.TILE", 4)
    assert kernel_distance(a.flip(0), b.flip(0)) == pytest.approx(expected, rel=1e-10)


def test_the_same_images_on_both_sides_are_treated_as_two_sides() -> None:
    a = drawn(30, 0)
    assert kernel_distance(a, a) == pytest.approx(kernel_distance(a, a.clone()), rel=1e-12)


def test_no_bias_between_equal_distributions_and_an_honest_standard_error() -> None:
    found = [estimate_kernel_distance(drawn(60, s), drawn(80, 1000 + s), seed=0) for s in range(150)]
    values = np.array([one.estimate for one in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(150)
    errors = np.array([one.standard_error for one in found])
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.25)
    assert np.mean([one.bias for one in found]) > values.std()


def test_classes_of_fixed_sizes_have_no_bias_either() -> None:
    strata = torch.arange(3).repeat_interleave(20)
    modes = 2 * torch.from_numpy(np.random.default_rng(0).normal(size=(3, 6)))[strata]
    pairs = [(modes + drawn(60, s), modes + drawn(60, 900 + s)) for s in range(100)]
    found = [estimate_kernel_distance(a, b, seed=0, strata=strata, real_strata=strata) for a, b in pairs]
    values = np.array([one.estimate for one in found])
    assert abs(values.mean()) < 3 * values.std() / 10
    assert np.mean([kernel_distance(a, b) for a, b in pairs]) < -2 * values.std()
    errors = np.array([one.standard_error for one in found])
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(values.std(), rel=0.45)


def test_rises_with_a_shift() -> None:
    values = [kernel_distance(drawn(200, 0, shift=shift), drawn(200, 1)) for shift in (0.0, 0.2, 0.5, 1.0)]
    assert values == sorted(values)


def test_too_few_images_are_one_line() -> None:
    with pytest.raises(UserError, match=r"kid: a subset of 50 needs at least 50 real images, found 30"):
        kernel_distances(drawn(60, 0), drawn(30, 1), subsets=2, subset_size=50, seed=0)
    with pytest.raises(UserError, match="at least 2 subset images, found 1"):
        kernel_distances(drawn(60, 0), drawn(30, 1), subsets=2, subset_size=1, seed=0)
    with pytest.raises(UserError, match="at least 20 generated images, found 5"):
        estimate_kernel_distance(drawn(5, 0), drawn(30, 1), seed=0)
