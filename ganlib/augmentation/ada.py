"""The ADA pipe: groups of transformations, each applied with a probability of its own."""

import torch
from torch import Tensor

from ganlib.augmentation import blit, colour, corruption, geometry
from ganlib.augmentation.base import Augment
from ganlib.augmentation.wavelet import Resampling, resampling
from ganlib.config import AdaOptions, ImageSpec


class Ada(Augment):
    """Karras et al. 2020 (ADA), appendix B: blit, geometry, colour, noise, cutout, in this order.

    Each transformation is applied to an image with `probability` times its
    group's figure; groups whose figure is 0 cost nothing. An image to which
    nothing is applied comes out bit-identical (in TF32, with the rounding of
    a product by 1 if the colour group is on).
    """

    def __init__(self, options: AdaOptions, image: ImageSpec) -> None:
        self._options = options
        self._image = image
        self._matrices: dict[tuple[torch.device, torch.dtype], Resampling] = {}
        dims = (
            (options.blit, blit.DRAW_DIM),
            (options.geometry, geometry.DRAW_DIM),
            (options.colour, colour.draw_dim(image.channels)),
            (options.noise, corruption.noise_draw_dim(image.channels * image.size**2)),
            (options.cutout, corruption.CUTOUT_DRAW_DIM),
        )
        self._draw_dims = [dim if figure > 0 else 0 for figure, dim in dims]
        self.draw_dim = sum(self._draw_dims)

    def _augment(self, images: Tensor, draws: Tensor, probability: Tensor) -> Tensor:
        options = self._options
        blit_draws, geometry_draws, colour_draws, noise_draws, cutout_draws = draws.split_with_sizes(
            self._draw_dims, dim=1
        )
        shift = torch.zeros(len(images), 2, dtype=torch.int64, device=images.device)
        if options.blit > 0:
            moves = blit.draw_moves(blit_draws, probability * options.blit, self._image.size)
            if options.geometry > 0:  # two translations are one: what the first moves out the second may bring back
                moves, shift = moves._replace(shift=shift), moves.shift
            images = blit.apply_moves(images, moves)
        if options.geometry > 0:
            plan = geometry.draw_geometry(geometry_draws, probability * options.geometry, shift, self._image.size)
            resampled = geometry.resample(images, plan, self._resampling(images))
            images = torch.where(plan.moved[:, None, None, None], resampled, images)
        if options.colour > 0:
            images = colour.recolour(images, colour.draw_colour(colour_draws, probability * options.colour))
        if options.noise > 0:
            images = corruption.add_noise(images, noise_draws, probability * options.noise)
        if options.cutout > 0:
            images = corruption.cut_out(images, cutout_draws, probability * options.cutout)
        return images

    def _resampling(self, images: Tensor) -> Resampling:
        key = (images.device, images.dtype)
        if key not in self._matrices:
            self._matrices[key] = resampling(self._image.size, images.dtype, images.device)
        return self._matrices[key]
