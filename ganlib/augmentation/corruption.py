"""Noise and cutout, the last groups of the ADA pipe (Karras et al. 2020, appendix B, algorithm 1)."""

import torch
from torch import Tensor

from ganlib.augmentation.base import normal

NOISE_STD = 0.1  # of the noise's own standard deviation
CUTOUT_SHARE = 0.5  # of the side
CUTOUT_DRAW_DIM = 3


def noise_draw_dim(image_values: int) -> int:
    """Uniform numbers for an image of so many values."""
    return 2 + image_values


def add_noise(images: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
    """Gaussian noise whose deviation is itself half-normal: [N, C, H, W], [N, 2 + C H W], [] -> [N, C, H, W]."""
    deviation = torch.where(draws[:, 0] < probability, NOISE_STD * normal(draws[:, 1]).abs(), 0)
    return images + deviation[:, None, None, None] * normal(draws[:, 2:]).view(images.shape)


def cut_out(images: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
    """Zero (mid-grey) in a square of half the side around a uniform place: [N, C, H, W], [N, 3], [] -> [N, C, H, W].

    The square may stand out over the border.
    """
    height, width = images.shape[2:]
    down = _far(draws[:, 1:2], height)[:, None, :, None]
    right = _far(draws[:, 2:3], width)[:, None, None, :]
    untouched = (draws[:, 0] >= probability)[:, None, None, None]
    return torch.where(untouched | down | right, images, 0)


def _far(centre: Tensor, side: int) -> Tensor:
    """Which pixel centres are at least a quarter of the side away: [N, 1] in [0, 1) -> [N, side] bool."""
    places = (torch.arange(side, device=centre.device, dtype=centre.dtype) + 0.5) / side
    return (places - centre).abs() >= CUTOUT_SHARE / 2
