"""Twice the side and back through the low-pass filters of a symmetric wavelet, as matrices.

At these sizes two products with small dense matrices are an order of magnitude
faster on a CPU than the convolutions they stand for, and the reflection at the
borders is part of the matrix.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# The wavelet "9/7" (Cohen, Daubechies and Feauveau 1992; the irreversible transform of JPEG 2000, ISO/IEC 15444-1,
# annex F), from the centre outwards. What `UP` makes `DOWN` undoes, also after a shift by whole pixels.
UP = (1.115087052456994, 0.591271763114247, -0.05754352622849957, -0.09127176311424948)
DOWN = (0.6029490182363579, 0.2668641184428723, -0.07822326652898785, -0.01686411844287495, 0.02674875741080976)
REACH = len(DOWN) - 1  # samples beyond the border pixels that `DOWN` reads


class Resampling(NamedTuple):
    """Matrices along one axis of `side` pixels, two samples a pixel.

    `up` gives the samples from the first pixel to the last; sample 2 p lies on
    pixel p. `down` reads the samples from `-REACH` on. Filters symmetric about
    a sample keep the mirror image of a mirror image: beyond its borders the
    upsampled signal is its own reflection.
    """

    up: Tensor  # [2 side - 1, side]
    down: Tensor  # [side, 2 side - 1 + 2 REACH]


def resampling(side: int, dtype: torch.dtype, device: torch.device) -> Resampling:
    """The matrices for `side` >= 2 pixels reflected at the border pixels, which are not repeated."""
    up = torch.zeros(2 * side - 1, side, dtype=torch.float64)
    down = torch.zeros(side, 2 * side - 1 + 2 * REACH, dtype=torch.float64)
    for sample in range(len(up)):
        for step in range(1 - len(UP), len(UP)):
            if (sample + step) % 2 == 0:
                up[sample, reflected((sample + step) // 2, side)] += UP[abs(step)]
    for pixel in range(side):
        for step in range(-REACH, REACH + 1):
            down[pixel, REACH + 2 * pixel + step] = DOWN[abs(step)]
    return Resampling(up.to(device, dtype), down.to(device, dtype))


def reflected(place: int, side: int) -> int:
    """The pixel that stands at `place` when the signal goes on beyond its border pixels as in a mirror."""
    last = side - 1
    return last - abs(place % (2 * last) - last)
