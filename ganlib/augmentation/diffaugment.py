"""DiffAugment: colour, translation and cutout on every image."""

import torch
from torch import Tensor

from ganlib.augmentation.base import Augment, gather_pixels
from ganlib.config import DiffAugmentOptions, ImageSpec


class DiffAugment(Augment):
    """Zhao et al. 2020, with every transformation on every image: the probability is not used.

    In order: brightness, saturation, contrast; translation by whole pixels
    with zeros (mid-grey) beyond the border; a zeroed square.
    """

    def __init__(self, options: DiffAugmentOptions, image: ImageSpec) -> None:
        self._options = options
        self._colour_channels = min(image.channels, 3)
        self._draw_dims = [
            3 if options.colour else 0,
            2 if options.translation > 0 else 0,
            2 if options.cutout > 0 else 0,
        ]
        self.draw_dim = sum(self._draw_dims)

    def _augment(self, images: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
        colour_draws, translation_draws, cutout_draws = draws.split_with_sizes(self._draw_dims, dim=1)
        if self._options.colour:
            channels = self._colour_channels
            colours = jitter_colour(images[:, :channels], colour_draws)
            images = colours if images.shape[1] == channels else torch.cat([colours, images[:, channels:]], dim=1)
        if self._options.translation > 0:
            images = translate(images, translation_draws, self._options.translation)
        if self._options.cutout > 0:
            images = cut_square(images, cutout_draws, self._options.cutout)
        return images


def jitter_colour(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness by U(-1/2, 1/2), saturation by U(0, 2), contrast by U(1/2, 3/2): [N, C, H, W], [N, 3].

    Saturation is about each pixel's mean over channels, contrast about the image's mean.
    """
    brightness, saturation, contrast = draws[:, :, None, None, None].unbind(dim=1)
    images = images + (brightness - 0.5)
    if images.shape[1] > 1:  # a grey pixel is its own mean
        images = torch.lerp(images.mean(dim=1, keepdim=True), images, 2 * saturation)
    return torch.lerp(images.mean(dim=(1, 2, 3), keepdim=True), images, contrast + 0.5)


def translate(images: Tensor, draws: Tensor, share: float) -> Tensor:
    """By whole pixels, uniform within `share` of the side each way, zeros moving in: [N, C, H, W], [N, 2]."""
    height, width = images.shape[2:]
    rows, rows_inside = _moved_places(draws[:, :1], height, share)
    columns, columns_inside = _moved_places(draws[:, 1:], width, share)
    moved = gather_pixels(images, (rows[:, :, None] * width + columns[:, None, :]).flatten(1)).view(images.shape)
    return torch.where(rows_inside[:, None, :, None] & columns_inside[:, None, None, :], moved, 0)


def cut_square(images: Tensor, draws: Tensor, share: float) -> Tensor:
    """Zeros in a square with `share` of the side, its centre uniform: [N, C, H, W], [N, 2].

    It may stand out over the border, by half of itself.
    """
    height, width = images.shape[2:]
    rows = _cut_places(draws[:, :1], height, share)[:, None, :, None]
    columns = _cut_places(draws[:, 1:], width, share)[:, None, None, :]
    return torch.where(rows & columns, 0, images)


def _moved_places(draws: Tensor, side: int, share: float) -> tuple[Tensor, Tensor]:
    """Where each row (or column) comes from, and whether that is inside: [N, 1] -> int64 and bool [N, side]."""
    reach = _pixels(side, share)
    places = torch.arange(side, device=draws.device) - (_whole(draws, 2 * reach + 1) - reach)
    return places.clamp(0, side - 1), (places >= 0) & (places < side)


def _cut_places(draws: Tensor, side: int, share: float) -> Tensor:
    """Which rows (or columns) the square covers: [N, 1] -> bool [N, side]."""
    length = _pixels(side, share)
    first = _whole(draws, side + 1 - length % 2) - length // 2
    places = torch.arange(side, device=draws.device)
    return (places >= first) & (places < first + length)


def _pixels(side: int, share: float) -> int:
    return int(side * share + 0.5)


def _whole(draws: Tensor, count: int) -> Tensor:
    """Uniform whole numbers in [0, count) from uniform numbers in [0, 1)."""
    return (draws * count).to(torch.int64).clamp(max=count - 1)
