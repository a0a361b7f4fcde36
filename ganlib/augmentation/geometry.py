"""Geometric transformations as one affine map an image, sampled between up- and downsampling that undo each other."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlib.augmentation.base import angle, gather_pixels, normal
from ganlib.augmentation.wavelet import REACH, Resampling

DRAW_DIM = 11
SCALE_STD = 0.2  # of the binary logarithm
TRANSLATION_STD = 0.125  # of the side


class Geometry(NamedTuple):
    """Which images move, and from where: (x, y) of the output at `linear` (x, y) + `offset` of the input.

    In pixels to the right and down from the image's centre.
    """

    moved: Tensor  # [N] bool
    linear: Tensor  # [N, 2, 2]
    offset: Tensor  # [N, 2]


def draw_geometry(draws: Tensor, probability: Tensor, shift: Tensor, side: int) -> Geometry:
    """Karras et al. 2020 (ADA), appendix B, algorithm 1, "general geometric": [N, 11], [], int64 [N, 2].

    In order: the whole-pixel `shift` (down, right), scaling, a rotation,
    stretching along an axis, a rotation, translation. Each rotation has the
    probability 1 - sqrt(1 - p), so that some rotation has p.
    """
    zoom_chosen, zoom, first_chosen, first, stretch_chosen, stretch, second_chosen, second, move_chosen = draws[
        :, :9
    ].unbind(dim=1)
    either = 1 - (1 - probability).sqrt()
    thresholds = ((zoom_chosen, probability), (first_chosen, either), (stretch_chosen, probability))
    zoom_on, first_on, stretch_on = (draw < threshold for draw, threshold in thresholds)
    second_on, move_on = second_chosen < either, move_chosen < probability
    # The inverses, of which the last transformation's is applied first.
    zoom = torch.where(zoom_on, torch.exp2(-SCALE_STD * normal(zoom)), 1)
    stretch = torch.where(stretch_on, torch.exp2(-SCALE_STD * normal(stretch)), 1)
    scales = torch.stack([zoom * stretch, zoom / stretch], dim=1)
    back = _rotation(torch.where(first_on, -angle(first), 0)), _rotation(torch.where(second_on, -angle(second), 0))
    linear = _product(back[0] * scales[:, None, :], back[1])
    move = torch.where(move_on[:, None], TRANSLATION_STD * side * normal(draws[:, 9:]), 0)
    offset = -_product(linear, move[:, :, None]).squeeze(2) - shift.flip(1)
    moved = zoom_on | first_on | stretch_on | second_on | move_on | (shift != 0).any(dim=1)
    return Geometry(moved, linear, offset)


def resample(images: Tensor, geometry: Geometry, matrices: Resampling) -> Tensor:
    """Each output pixel from where `geometry` says, reflecting at the borders: [N, C, S, S] -> [N, C, S, S].

    As Karras et al. 2020 (ADA), appendix B, with the wavelet 9/7 in place of
    sym6: symmetric filters put no content beside its place, which sym6 does
    by up to 0.1 pixels, and turned photographs lose less. Moves by whole
    pixels, quarter turns and mirror images are exact to rounding.

    Args:
        images: of any range.
        geometry: where from.
        matrices: `wavelet.resampling(S)`.
    """
    side = images.shape[2]
    fine = matrices.up @ (images @ matrices.up.mT)
    places = sample_places(geometry, side)
    if torch.are_deterministic_algorithms_enabled() and images.is_cuda:
        sampled = bilinear(fine, places)
    else:
        grid = places * (2 / fine.shape[2]) + (1 / fine.shape[2] - 1)
        sampled = F.grid_sample(fine, grid, padding_mode="border", align_corners=False)  # outside only by rounding
    return matrices.down @ sampled @ matrices.down.mT


def sample_places(geometry: Geometry, side: int) -> Tensor:
    """Where in the upsampled image the samples are that the downsampling reads: [N, F, F, 2], F = 2 S - 1 + 2 REACH.

    (x, y) in samples of `Resampling.up`, from 0.
    """
    last = side - 1
    edge = last + REACH
    places = torch.arange(-edge, edge + 1, device=geometry.linear.device, dtype=geometry.linear.dtype)
    # Written out: as a product of matrices TF32 would round the places.
    across = geometry.linear[:, :, :1] * places + (2 * geometry.offset + last)[:, :, None]
    down = geometry.linear[:, :, 1:] * places
    found = across[:, :, None, :] + down[:, :, :, None]  # [N, 2, F, F], from the first pixel's centre
    # The distance to the nearest image of the first pixel, of which there is one every two sides.
    period = 4 * last
    return torch.sub(found, (found / period).round(), alpha=period).abs().movedim(1, 3)


def bilinear(images: Tensor, places: Tensor) -> Tensor:
    """`F.grid_sample` by gathers, which CUDA can differentiate deterministically.

    [N, C, F, F], [N, P, Q, 2] as (x, y) in [0, F - 1] -> [N, C, P, Q].
    """
    side = images.shape[2]
    corners = places.detach().clamp(0, side - 1).floor().clamp(max=side - 2)
    x_share, y_share = (places - corners).flatten(1, 2).unbind(dim=2)
    x, y = corners.to(torch.int64).flatten(1, 2).unbind(dim=2)
    first = y * side + x
    upper, lower = (
        torch.lerp(gather_pixels(images, left), gather_pixels(images, left + 1), x_share[:, None])
        for left in (first, first + side)
    )
    return torch.lerp(upper, lower, y_share[:, None]).view(*images.shape[:2], *places.shape[1:3])


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Of small matrices, in full precision also where TF32 is on: [N, 2, 2], [N, 2, K] -> [N, 2, K]."""
    return (left[:, :, :, None] * right[:, None, :, :]).sum(dim=2)


def _rotation(radians: Tensor) -> Tensor:
    """[N] -> [N, 2, 2]; clockwise as one sees it, since y points down."""
    cos, sin = radians.cos(), radians.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
