"""Twice the side and back through an orthogonal wavelet's low-pass filter, as matrices.

At these sizes two products with small dense matrices are an order of magnitude
faster on a CPU than the convolutions they stand for, and the reflection at the
borders is part of the matrix.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

# The scaling filter of the symlet with six vanishing moments (Daubechies 1992, section 8.1.1, table 8.1).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# With vanishing moments a filtered ramp is a ramp, displaced by the filter's centre of mass: sample j of the
# upsampled signal lies at (j - CENTRE) / 2 of the original one.
CENTRE = sum(place * tap for place, tap in enumerate(SYM6)) / math.sqrt(2)
# Samples beyond those of the identity, so that rounding cannot push it over the end.
MARGIN = 2


class Resampling(NamedTuple):
    """Matrices along one axis of `side` pixels.

    `up` gives the samples from `-MARGIN` on that the identity needs and
    `MARGIN` more at both ends; `down` reads samples from 0 on. Without the
    margins, `down` is the transpose of `up` (up to its gain) and its inverse
    from the left, for a filter orthonormal to its even shifts.
    """

    up: Tensor  # [2 side + 10 + 2 MARGIN, side]
    down: Tensor  # [side, 2 side + 10]


def resampling(side: int, dtype: torch.dtype, device: torch.device) -> Resampling:
    """The matrices for `side` >= 2 pixels reflected at the border pixels, which are not repeated."""
    samples = 2 * side + len(SYM6) - 2
    up = torch.zeros(samples + 2 * MARGIN, side, dtype=torch.float64)
    for row in range(len(up)):
        sample = row - MARGIN
        for place, tap in enumerate(SYM6):
            if (sample - place) % 2 == 0:
                up[row, reflected((sample - place) // 2, side)] += tap * math.sqrt(2)
    down = torch.zeros(side, samples, dtype=torch.float64)
    for row in range(side):
        down[row, 2 * row : 2 * row + len(SYM6)] = torch.tensor(SYM6, dtype=torch.float64) / math.sqrt(2)
    return Resampling(up.to(device, dtype), down.to(device, dtype))


def reflected(place: int, side: int) -> int:
    """The pixel that stands at `place` when the signal goes on beyond its border pixels as in a mirror."""
    last = side - 1
    return last - abs(place % (2 * last) - last)
