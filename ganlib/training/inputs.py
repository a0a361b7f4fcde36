"""What a step is a function of, besides the state: real images, labels and random numbers.

All are functions of (seed, purpose, images shown) for the whole batch, of
which each process takes its share. So neither the number of devices nor the
point of resuming changes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

import torch
from torch import Tensor

from ganlib.augmentation import mirror
from ganlib.training.distributed import Ranks
from ganlib.training.randomness import generator_at
from ganlib.training.recipe import Recipe


@dataclass(frozen=True)
class RealBatch:
    """Real images [N, C, H, W] in [-1, 1] and their labels [N], on the device."""

    images: Tensor
    labels: Tensor | None


class Feed(Protocol):
    """Where real images come from."""

    def at(self, seen_images: int) -> RealBatch:
        """This process's share of the batch that follows after `seen_images`."""


@dataclass(frozen=True)
class Inputs:
    """N real images, N latents [N, Z], and the numbers that augment N real and N fake images.

    The draws [N, K] are None where nothing is augmented, `mixing` [N] where
    no images between real and fake ones are wanted.
    """

    real: RealBatch
    latents: Tensor
    real_draws: Tensor | None
    fake_draws: Tensor | None
    mixing: Tensor | None

    @property
    def draws_of_both(self) -> Tensor | None:
        """[2 N, K], for the real images and the generated ones behind them; None where nothing is augmented."""
        if self.real_draws is None or self.fake_draws is None:
            return None
        return torch.cat([self.real_draws, self.fake_draws])

    def parts(self, count: int) -> Iterator["Inputs"]:
        """Equal parts, one after another."""

        def pieces(tensor: Tensor | None) -> Iterator[Tensor | None]:
            return repeat(None, count) if tensor is None else iter(tensor.chunk(count))

        for images, labels, latents, real_draws, fake_draws, mixing in zip(
            self.real.images.chunk(count),
            pieces(self.real.labels),
            self.latents.chunk(count),
            pieces(self.real_draws),
            pieces(self.fake_draws),
            pieces(self.mixing),
            strict=True,
        ):
            yield Inputs(RealBatch(images, labels), latents, real_draws, fake_draws, mixing)


def real_at(recipe: Recipe, feed: Feed, seen_images: int, ranks: Ranks) -> RealBatch:
    """Real images after `seen_images`, half of them mirrored where the recipe says so."""
    real = feed.at(seen_images)
    if not recipe.augmentation.mirror:
        return real
    draws = _uniform("mirror", recipe, seen_images, ranks, real.images.device)
    return RealBatch(mirror(real.images, draws), real.labels)


def inputs_at(purpose: str, recipe: Recipe, real: RealBatch, seen_images: int, latent_dim: int, ranks: Ranks) -> Inputs:
    """The inputs of the critic's or the generator's step (`purpose`) after `seen_images`."""
    device = real.images.device
    batch_size, draw_dim = recipe.options.batch_size, 0 if recipe.augment is None else recipe.augment.draw_dim
    noise = generator_at(recipe.options.seed, purpose, seen_images, device)
    latents = torch.randn(batch_size, latent_dim, generator=noise, device=device)

    def uniform(name: str, *shape: int) -> Tensor:
        return _uniform(f"{purpose} {name}", recipe, seen_images, ranks, device, *shape)

    return Inputs(
        real=real,
        latents=latents[ranks.share(batch_size)],
        real_draws=uniform("augments real", draw_dim) if draw_dim else None,
        fake_draws=uniform("augments fake", draw_dim) if draw_dim else None,
        mixing=uniform("mixes") if recipe.loss.gradient_penalty.active and purpose == "critic" else None,
    )


def _uniform(name: str, recipe: Recipe, seen_images: int, ranks: Ranks, device: torch.device, *shape: int) -> Tensor:
    noise = generator_at(recipe.options.seed, name, seen_images, device)
    batch_size = recipe.options.batch_size
    return torch.rand(batch_size, *shape, generator=noise, device=device)[ranks.share(batch_size)]
