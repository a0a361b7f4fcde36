"""How alike two images are, pixel by pixel and in structure; each pair by itself."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ganlib.errors import UserError

Images = NDArray[np.uint8]
PEAK = 255.0
# An image that comes back exactly differs from the values that a network gave by their rounding, of variance 1/12.
HIGHEST_PSNR = 10 * np.log10(12 * PEAK**2)
# Wang et al. 2004, section III.B and C.
WINDOW_PX, WINDOW_SIGMA_PX = 11, 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
# Pairs at a time: 12 MB for each pair of 256 x 256 x 3.
BATCH_SIZE = 64


def psnr(one: Images, other: Images) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB, over all channels alike: float64 [N]; infinite for equal images.

    Args:
        one: uint8 [N, H, W, C].
        other: likewise.
    """
    _check_pairs(one, other)
    errors = np.empty(len(one))
    for start in range(0, len(one), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        errors[rows] = np.square(one[rows].astype(np.float64) - other[rows]).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(PEAK**2 / errors))


def ssim(one: Images, other: Images) -> NDArray[np.float64]:
    """Structural similarity (Wang et al. 2004, eq. 13), -1 to 1: float64 [N]; 1 for equal images.

    Mean over the channels and over all places at which the Gaussian window of 11 x 11 pixels (sigma 1.5)
    lies inside the image, so that no border is made up. Channels, alpha too, count alike.

    Args:
        one: uint8 [N, H, W, C].
        other: likewise.

    Raises:
        UserError: images smaller than the window.
    """
    _check_pairs(one, other)
    height, width = one.shape[1:3]
    if min(height, width) < WINDOW_PX:
        raise UserError(f"ssim: found images of {width} x {height} pixels, expected at least {WINDOW_PX} a side")
    found = [
        _similarity(_planes(one[start : start + BATCH_SIZE]), _planes(other[start : start + BATCH_SIZE]))
        for start in range(0, len(one), BATCH_SIZE)
    ]
    return np.concatenate(found) if found else np.empty(0)


def _similarity(x: Tensor, y: Tensor) -> NDArray[np.float64]:
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x, variance_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).mean(dim=(1, 2, 3)).numpy()


def _blurred(planes: Tensor) -> Tensor:
    """Means under the window, [N, C, H, W] -> [N, C, H - 10, W - 10]."""
    channels = planes.shape[1]
    places = torch.arange(WINDOW_PX, dtype=torch.float64) - WINDOW_PX // 2
    weights = torch.exp(-places.square() / (2 * WINDOW_SIGMA_PX**2))
    line = (weights / weights.sum()).expand(channels, 1, 1, -1)
    across = F.conv2d(planes, line, groups=channels)
    return F.conv2d(across, line.transpose(2, 3), groups=channels)


def _planes(images: Images) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).double()


def _check_pairs(one: Images, other: Images) -> None:
    assert one.ndim == 4
    assert one.shape == other.shape, f"{one.shape} against {other.shape}"
    assert one.dtype == other.dtype == np.uint8
