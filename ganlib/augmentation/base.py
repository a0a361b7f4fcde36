"""What all augmentations share: the call, and random decisions as functions of uniform numbers."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

# The step of float32 uniform numbers below 1: so far from 0 and 1 their normal quantiles are finite (5.3).
SMALLEST_UNIFORM = 2.0**-24


class Augment(ABC):
    """An augmentation of what the critic sees, twice differentiable with respect to the images.

    All its randomness comes in as `draw_dim` uniform numbers an image, so
    that what happens to an image depends on its own numbers alone. It never
    waits for the device and may be captured in a CUDA graph after one call
    outside of it (which places constants on the device).
    """

    draw_dim: int

    def __call__(self, images: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
        """[N, C, H, W] around [-1, 1], [N, draw_dim] in [0, 1), [] in [0, 1] -> [N, C, H, W].

        Autocast is suspended: images of half precision come out as float32.
        """
        assert draws.shape == (len(images), self.draw_dim), f"draws {tuple(draws.shape)}, not [N, {self.draw_dim}]"
        with torch.autocast(images.device.type, enabled=False):
            wide = images.to(torch.promote_types(images.dtype, torch.float32))
            return self._augment(wide, draws.to(wide.dtype), probability.to(wide.dtype))

    @abstractmethod
    def _augment(self, images: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
        """As `__call__`, with all of one type and autocast suspended."""


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in [0, 1), by the quantile function."""
    quantiles: Tensor = torch.special.ndtri(uniform.clamp(SMALLEST_UNIFORM, 1 - SMALLEST_UNIFORM))
    return quantiles


def angle(uniform: Tensor) -> Tensor:
    """Angles in [-pi, pi) from uniform numbers in [0, 1)."""
    return (2 * uniform - 1) * math.pi


def gather_pixels(images: Tensor, index: Tensor) -> Tensor:
    """Pixels by their place in row-major order: [N, C, H, W], int64 [N, P] -> [N, C, P]."""
    flat = images.flatten(2)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1))


def mirror(images: Tensor, draws: Tensor) -> Tensor:
    """Flip horizontally where `draws` < 1/2: [N, C, H, W], [N] in [0, 1) -> [N, C, H, W]."""
    return torch.where((draws < 0.5)[:, None, None, None], images.flip(3), images)
