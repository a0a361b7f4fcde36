"""Images made worse in a named way: what a translator is given, while the images as they were are what it is to make.

A degradation's randomness comes in as numbers, so that what happens to an image depends on its own numbers alone. It
runs on any device, and a captured graph may repeat it after one call outside of it.
"""

from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ganlib.config import (
    ClassesOptions,
    ClassStylesOptions,
    ColouriseOptions,
    DeblurOptions,
    DegradationOptions,
    DegradedStylesOptions,
    DenoiseOptions,
    InpaintOptions,
    InputsOptions,
    InvertOptions,
    PairsOptions,
    SuperresolveOptions,
)
from ganlib.datasets.packed.reading import Split
from ganlib.sampling import Images, from_uint8

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
KERNEL_SIGMAS = 4.0  # a Gaussian is cut off there; 6e-5 of it lies beyond


def noise_shape(options: DegradationOptions, channels: int, size: int) -> tuple[int, ...]:
    """The shape of an image's own standard normal numbers; of length 0 where a degradation draws none."""
    match options:
        case DenoiseOptions():
            return channels, size, size
        case InpaintOptions():
            return (2,)
        case _:
            return (0,)


def degrade(images: Tensor, options: DegradationOptions, noise: Tensor) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] made worse, of the same shape, in [-1, 1] but for noise.

    Args:
        images: of any size that the degradation divides.
        options: which degradation.
        noise: standard normal numbers [N, *noise_shape(…)].
    """
    match options:
        case SuperresolveOptions():
            small = F.avg_pool2d(images, options.factor)
            return enlarged(small, options.factor).clamp(-1, 1)
        case DenoiseOptions():
            return images + options.std * noise
        case DeblurOptions():
            return _blurred(images, options.sigma_px)
        case ColouriseOptions():
            return _grey(images)
        case InpaintOptions():
            return _holed(images, options.side, noise)
        case InvertOptions():
            return _negative(_blurred(images, options.sigma_px))
        case _:
            assert_never(options)


def inputs_of(split: Split, rows: NDArray[np.int64], options: InputsOptions, *, seed: int) -> Tensor:
    """What a translator is given of rows of a split, [N, C, H, W] on the CPU.

    Args:
        split: of the images that inputs are made from, or that are read with them.
        rows: [N].
        options: which inputs.
        seed: of the noise, which depends on it and on the row alone.
    """
    if isinstance(options, PairsOptions):
        return from_uint8(split.take_inputs(rows))
    images = split.take(rows)
    if isinstance(options, DegradedStylesOptions):
        return styled_rows(images, rows, options, 1 + rows % len(options.styles), seed=seed)
    if isinstance(options, ClassesOptions | ClassStylesOptions):
        return from_uint8(images)
    return degraded_rows(images, rows, options, seed=seed)


def styled_rows(
    images: Images, rows: NDArray[np.int64], options: DegradedStylesOptions, styles: NDArray[np.int64], *, seed: int
) -> Tensor:
    """Images uint8 [N, H, W, C], each in a style [N], of which 0 leaves it as it is: [N, C, H, W] on the CPU."""
    made = from_uint8(images)
    for style, named in enumerate(options.styles, start=1):
        chosen = np.flatnonzero(styles == style)
        if len(chosen):
            made[torch.from_numpy(chosen)] = degraded_rows(images[chosen], rows[chosen], named.degradation, seed=seed)
    return made


def degraded_rows(images: Images, rows: NDArray[np.int64], options: DegradationOptions, *, seed: int) -> Tensor:
    """Images uint8 [N, H, W, C] made worse, [N, C, H, W] on the CPU; noise depends on seed and row [N] alone."""
    _, size, _, channels = images.shape
    shape = noise_shape(options, channels, size)
    noise = np.stack([np.random.default_rng((seed, row)).standard_normal(shape, dtype=np.float32) for row in rows])
    return degrade(from_uint8(images), options, torch.from_numpy(noise))


def enlarged(images: Tensor, factor: int) -> Tensor:
    """By bicubic interpolation (Keys 1981): [N, C, H, W] -> [N, C, factor H, factor W]."""
    return F.interpolate(images, scale_factor=factor, mode="bicubic", align_corners=False)


def _blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Separable; the border is repeated."""
    radius = max(1, round(KERNEL_SIGMAS * sigma_px))
    places = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    taps = torch.softmax(-places.square() / (2 * sigma_px**2), dim=0)
    channels = images.shape[1]
    across = taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    padded = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, across, groups=channels), across.mT, groups=channels)


def _grey(images: Tensor) -> Tensor:
    """The luma in each colour; transparency stays."""
    red, green, blue = (weight * images[:, place : place + 1] for place, weight in enumerate(LUMA))
    luma = red + green + blue
    return torch.cat([luma.expand(-1, 3, -1, -1), images[:, 3:]], dim=1)


def _negative(images: Tensor) -> Tensor:
    return torch.cat([-images[:, :3], images[:, 3:]], dim=1)


def _holed(images: Tensor, share: float, noise: Tensor) -> Tensor:
    side = images.shape[-1]
    hole = max(1, round(share * side))
    corners = (torch.special.ndtr(noise) * (side - hole + 1)).floor()[:, :, None]  # uniform over all places
    places = torch.arange(side, device=images.device)
    down, right = ((places >= corners) & (places < corners + hole)).unbind(dim=1)
    return torch.where((down[:, :, None] & right[:, None, :])[:, None], torch.zeros((), device=images.device), images)
