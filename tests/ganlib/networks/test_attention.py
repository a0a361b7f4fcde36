import math

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.networks.attention import SelfAttention


def attention(channels: int) -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(channels, lambda before, after: nn.Conv2d(before, after, 1, bias=False)).double()
    nn.init.constant_(layer.gain, 0.7)
    return layer


def matrix(layer: nn.Conv2d) -> np.ndarray:
    return layer.weight.detach()[:, :, 0, 0].numpy()


def pooled(plane: np.ndarray) -> np.ndarray:
    """[C, H, W] -> [C, H/2, W/2]: the greatest of each 2 x 2 pixels."""
    channels, height, width = plane.shape
    out = np.empty((channels, height // 2, width // 2))
    for c, i, j in np.ndindex(*out.shape):
        out[c, i, j] = max(plane[c, 2 * i + a, 2 * j + b] for a in (0, 1) for b in (0, 1))
    return out


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_each_position_takes_from_all_pooled_ones(memory_format):
    layer = attention(16)
    features = torch.randn(2, 16, 4, 6).double().contiguous(memory_format=memory_format)
    found = layer(features).detach().numpy()
    for sample, output in zip(features.numpy(), found, strict=True):
        queries = np.einsum("oi,ihw->ohw", matrix(layer.query), sample)
        keys = pooled(np.einsum("oi,ihw->ohw", matrix(layer.key), sample)).reshape(2, -1)
        values = pooled(np.einsum("oi,ihw->ohw", matrix(layer.value), sample)).reshape(8, -1)
        for i, j in np.ndindex(4, 6):
            weights = [math.exp(queries[:, i, j] @ keys[:, k]) for k in range(6)]
            mixed = sum(weight * values[:, k] for k, weight in enumerate(weights)) / sum(weights)
            expected = sample[:, i, j] + 0.7 * matrix(layer.output) @ mixed
            np.testing.assert_allclose(output[:, i, j], expected, rtol=1e-10)


def test_starts_as_the_identity():
    layer = SelfAttention(16, lambda before, after: nn.Conv2d(before, after, 1, bias=False))
    features = torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(features), features)


def test_derivatives_of_both_orders():
    layer = attention(8)
    features = torch.randn(1, 8, 2, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, features)
    assert torch.autograd.gradgradcheck(layer, features)
