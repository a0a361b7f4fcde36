"""Colour transformations as one matrix an image."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.augmentation.base import angle, normal

BRIGHTNESS_STD = 0.2
CONTRAST_STD = 0.5  # of the binary logarithm
SATURATION_STD = 1.0  # of the binary logarithm


class Colour(NamedTuple):
    """An affine map of colours; D is 1 (grey) or 3 (RGB)."""

    linear: Tensor  # [N, D, D]
    offset: Tensor  # [N], the same for every channel


def draw_dim(channels: int) -> int:
    """Uniform numbers an image: grey has no hue and no saturation."""
    return 6 if channels == 1 else 10


def draw_colour(draws: Tensor, probability: Tensor) -> Colour:
    """Karras et al. 2020 (ADA), appendix B, algorithm 1, "color": [N, 6] (grey) or [N, 10] (RGB), [] -> Colour.

    In order: brightness, contrast, luma flip; then, of RGB, hue and
    saturation. All of them respect the split of a colour into grey part m
    (its mean) and the rest q, so that their product has a closed form:
    contrast * (flip * (m + brightness) + saturation * rotated(q)), with the
    rotation by the hue's angle around the grey axis.
    """
    chosen = draws[:, 0::2] < probability
    values = draws[:, 1::2]
    brightness = torch.where(chosen[:, 0], BRIGHTNESS_STD * normal(values[:, 0]), 0)
    contrast = torch.where(chosen[:, 1], torch.exp2(CONTRAST_STD * normal(values[:, 1])), 1)
    flip = torch.where(chosen[:, 2] & (values[:, 2] < 0.5), -1, 1)
    grey = contrast * flip
    if draws.shape[1] == draw_dim(1):
        return Colour(grey[:, None, None], grey * brightness)
    hue = torch.where(chosen[:, 3], angle(values[:, 3]), 0)
    saturation = torch.where(chosen[:, 4], torch.exp2(SATURATION_STD * normal(values[:, 4])), 1)
    along = contrast * saturation * hue.cos()
    across = contrast * saturation * hue.sin() / math.sqrt(3)
    own, next_one, one_after = (grey + 2 * along) / 3, (grey - along) / 3 - across, (grey - along) / 3 + across
    rows = (own, next_one, one_after), (one_after, own, next_one), (next_one, one_after, own)
    return Colour(torch.stack([torch.stack(row, dim=1) for row in rows], dim=1), grey * brightness)


def recolour(images: Tensor, colour: Colour) -> Tensor:
    """Map every pixel's colour; alpha, the channel beyond, stays: [N, 1, 3 or 4, H, W] -> the same."""
    dims = colour.linear.shape[1]
    pixels = images[:, :dims].flatten(2)
    mapped = torch.baddbmm(colour.offset[:, None, None], colour.linear, pixels).view_as(images[:, :dims])
    return mapped if images.shape[1] == dims else torch.cat([mapped, images[:, dims:]], dim=1)
