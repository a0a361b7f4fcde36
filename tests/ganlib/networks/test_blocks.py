import numpy as np
import pytest
import torch
from torch import nn

from ganlib.networks.blocks import ConditionalBatchNorm2d, Downsample, Upsample, full_precision

TAPS = np.array([1, 3, 3, 1]) / 8


def filter_rows(rows: np.ndarray) -> np.ndarray:
    """Each row convolved in full with the four taps."""
    return np.stack([np.convolve(row, TAPS) for row in rows])


def separable(image: np.ndarray) -> np.ndarray:
    """Rows, then columns: [H, W] -> [H + 3, W + 3]."""
    return filter_rows(filter_rows(image).T).T


def test_upsampling_is_zero_insertion_and_a_separable_filter():
    image = np.random.default_rng(0).standard_normal((6, 5))
    spread = np.zeros((12, 10))
    spread[::2, ::2] = image
    expected = 4 * separable(spread)[1:-2, 1:-2]
    found = Upsample().double()(torch.from_numpy(image)[None, None].repeat(2, 3, 1, 1))
    assert found.shape == (2, 3, 12, 10)
    for plane in found.flatten(0, 1):
        np.testing.assert_allclose(plane.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_downsampling_is_a_separable_filter_and_every_second_pixel():
    image = np.random.default_rng(1).standard_normal((8, 10))
    expected = separable(image)[2:-1:2, 2:-1:2]
    found = Downsample().double()(torch.from_numpy(image)[None, None].repeat(2, 3, 1, 1))
    assert found.shape == (2, 3, 4, 5)
    for plane in found.flatten(0, 1):
        np.testing.assert_allclose(plane.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("resample", [Upsample(), Downsample()])
def test_resampling_preserves_constants_away_from_the_border(resample):
    inside = resample(torch.full((1, 2, 8, 8), 0.7))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.7))


def test_downsampling_is_the_adjoint_of_upsampling_up_to_gain():
    torch.manual_seed(0)
    small, large = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 8, 8).double()
    up, down = Upsample().double(), Downsample().double()
    torch.testing.assert_close((up(small) * large).sum(), 4 * (small * down(large)).sum())


def test_conditional_batch_norm_starts_as_plain_batch_norm():
    torch.manual_seed(0)
    features, labels = torch.randn(6, 4, 3, 3) * 2 + 1, torch.tensor([0, 1, 2, 0, 1, 2])
    conditional, plain = ConditionalBatchNorm2d(4, 3), nn.BatchNorm2d(4, affine=False)
    assert torch.equal(conditional(features, labels), plain(features))
    assert torch.equal(conditional.norm.running_var, plain.running_var)


def test_conditional_batch_norm_scales_and_shifts_by_class():
    torch.manual_seed(0)
    features, labels = torch.randn(6, 4, 3, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    layer = ConditionalBatchNorm2d(4, 3)
    nn.init.normal_(layer.embedding.weight)
    mean, std = features.mean(dim=(0, 2, 3)), (features.var(dim=(0, 2, 3), correction=0) + 1e-5).sqrt()
    found = layer(features, labels)
    for i, label in enumerate(labels):
        table = layer.embedding.weight[label]
        for c in range(4):
            expected = (1 + table[c]) * (features[i, c] - mean[c]) / std[c] + table[4 + c]
            torch.testing.assert_close(found[i, c], expected)


def test_full_precision_suspends_autocast():
    matrix = torch.eye(3)
    with torch.autocast("cpu", torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
        with full_precision(matrix):
            assert (matrix @ matrix).dtype == torch.float32
    with full_precision(torch.empty(3, device="meta")):
        pass
