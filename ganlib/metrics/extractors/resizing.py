"""Resizing as the networks of published figures expect it."""

from functools import lru_cache

import torch
from torch import Tensor


def resized(images: Tensor, size: int) -> Tensor:
    """Images [N, C, H, W] -> [N, C, size, size]: bilinear as in TensorFlow 1, which torch-fidelity follows."""
    rows, columns = (_interpolation(side, size).to(images.device) for side in images.shape[2:])
    return rows @ images @ columns.T


@lru_cache
def _interpolation(side: int, size: int) -> Tensor:
    """[size, side]: how a row of `size` pixels is made of one of `side`; corners not aligned, nothing blurred."""
    places = torch.arange(size, dtype=torch.float32) * torch.tensor(side / size, dtype=torch.float32)
    left = places.long()
    share = places - left
    weights = torch.zeros(size, side)
    rows = torch.arange(size)
    weights[rows, left] = 1 - share
    weights[rows, (left + 1).clamp(max=side - 1)] += share
    return weights
