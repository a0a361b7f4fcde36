"""What a step is a function of, besides the state: real images, their condition and random numbers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from ganlib.augmentation import mirror
from ganlib.config import (
    DegradationOptions,
    DegradedStylesOptions,
    GanOptions,
    PairsOptions,
    StylesOptions,
    UnpairedOptions,
    kinds_of,
)
from ganlib.degradations import degrade, noise_shape
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe


@dataclass(frozen=True)
class RealBatch:
    """Real images [N, C, H, W] in [-1, 1] and their condition, on the device.

    The condition is labels [N], or the images [N, C, H, W] that a translator is given.
    """

    images: Tensor
    condition: Tensor | None


class Feed(ABC):
    """Where real images come from, in two parts: a captured graph repeats the second on what the first has chosen."""

    @abstractmethod
    def choose(self, seen_images: int) -> tuple[Tensor, ...]:
        """What names this process's share of the batch that follows after `seen_images`, or holds it; of fixed shapes.

        It may lie in pinned memory.
        """

    @abstractmethod
    def load(self, *chosen: Tensor) -> RealBatch:
        """The batch, from what was chosen; waits for nothing, and in a graph what was chosen lies on the device."""

    def at(self, seen_images: int) -> RealBatch:
        """Both at once."""
        return self.load(*self.choose(seen_images))


@dataclass(frozen=True)
class Inputs:
    """N real images, N latents [N, Z], and the numbers that augment N real and N fake images.

    The draws [N, K] are None where nothing is augmented, `mixing` [N] where
    no images between real and fake ones are wanted, `other_latents` [N, Z]
    where an image needs one latent only, the styles asked for, `targets` int64
    [N], where there are none. Own styles take turns in a batch.
    """

    real: RealBatch
    latents: Tensor
    real_draws: Tensor | None
    fake_draws: Tensor | None
    mixing: Tensor | None
    other_latents: Tensor | None = None
    targets: Tensor | None = None

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

        for images, condition, latents, real_draws, fake_draws, mixing, others, targets in zip(
            self.real.images.chunk(count),
            pieces(self.real.condition),
            self.latents.chunk(count),
            pieces(self.real_draws),
            pieces(self.fake_draws),
            pieces(self.mixing),
            pieces(self.other_latents),
            pieces(self.targets),
            strict=True,
        ):
            yield Inputs(RealBatch(images, condition), latents, real_draws, fake_draws, mixing, others, targets)


def prepared(recipe: Recipe, real: RealBatch, draws: Draws) -> RealBatch:
    """Half of the images mirrored, and what a translator is given made from them, where the recipe says so.

    Without pairs, what is given takes the place of every second image, and styles take turns: no image is seen twofold.
    """
    images, condition = real.images, real.condition
    if recipe.augmentation.mirror:
        chosen = draws.uniform()
        images = mirror(images, chosen)
        if isinstance(recipe.inputs, PairsOptions):
            assert condition is not None
            condition = mirror(condition, chosen)
    if isinstance(recipe.inputs, DegradationOptions):
        shape = noise_shape(recipe.inputs, recipe.image.channels, recipe.image.size)
        noise = draws.normal(*shape)
        if isinstance(recipe.loss, UnpairedOptions):
            images = interleaved(images[::2], degrade(images[1::2], recipe.inputs, noise[1::2]))
        else:
            condition = degrade(images, recipe.inputs, noise)
    if isinstance(recipe.inputs, DegradedStylesOptions):
        kinds, images = len(kinds_of(recipe.inputs)), images.clone()
        for kind, style in enumerate(recipe.inputs.styles, start=1):
            noise = draws.normal(*noise_shape(style.degradation, recipe.image.channels, recipe.image.size))
            images[kind::kinds] = degrade(images[kind::kinds], style.degradation, noise[kind::kinds])
    return RealBatch(images, condition)


def interleaved(even: Tensor, odd: Tensor) -> Tensor:
    """One of each in turn: [N, …] and [N, …] -> [2 N, …]."""
    return torch.stack([even, odd], dim=1).flatten(0, 1)


def draw_inputs(recipe: Recipe, real: RealBatch, latent_dim: int, draws: Draws, *, mixed: bool) -> Inputs:
    """The inputs of a step on these real images; `mixed` where images between real and fake ones are wanted."""
    others = isinstance(recipe.loss, GanOptions) and recipe.loss.needs_other_latents
    draw_dim = 0 if recipe.augment is None else recipe.augment.draw_dim
    return Inputs(
        real=real,
        latents=draws.normal(latent_dim),
        real_draws=draws.uniform(draw_dim) if draw_dim else None,
        fake_draws=draws.uniform(draw_dim) if draw_dim else None,
        mixing=draws.uniform() if mixed else None,
        other_latents=draws.normal(latent_dim) if others else None,
        targets=_targets(recipe, draws.uniform()) if isinstance(recipe.loss, StylesOptions) else None,
    )


def _targets(recipe: Recipe, chosen: Tensor) -> Tensor:
    """Of each image any style but its own, int64 [N], by uniform numbers [N]."""
    assert recipe.inputs is not None
    styles = len(kinds_of(recipe.inputs))
    own = torch.arange(len(chosen), device=chosen.device) % styles
    # A uniform number may round up to 1.
    ahead = 1 + (chosen * (styles - 1)).long().clamp(max=styles - 2)
    return (own + ahead) % styles
