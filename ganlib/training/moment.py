"""What an iteration takes from the clock, in one place: all that changes between two iterations of a kind."""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganlib.config import GanOptions, OptimizerOptions
from ganlib.schedules import value_at
from ganlib.training.ema import decay_at
from ganlib.training.gan.penalties import penalty_factors
from ganlib.training.inputs import Feed
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState

Betas = tuple[float, float]


class Kind(NamedTuple):
    """What decides which kernels an iteration launches.

    Which weights of the loss count in each critic step, and how many intervals of the adaptive augmentation end in it.
    """

    due: tuple[tuple[bool, ...], ...]
    intervals: int


@dataclass(frozen=True)
class Moment:
    """One iteration on the clock, from `before` to `after` images shown.

    `numbers`, float32, are the critic's and the generator's learning rate, the weight of the newest generator in the
    average, and the scheduled weights of the loss for each critic step: one tensor, so that they cross to a GPU
    in one copy. `chosen` is what the feed chose for each critic step.
    """

    before: int
    after: int
    kind: Kind
    critic_betas: Betas
    generator_betas: Betas
    numbers: Tensor
    chosen: tuple[tuple[Tensor, ...], ...]

    @property
    def critic_rate(self) -> Tensor:
        """[]."""
        return self.numbers[0]

    @property
    def generator_rate(self) -> Tensor:
        """[]."""
        return self.numbers[1]

    @property
    def ema_weight(self) -> Tensor:
        """[]."""
        return self.numbers[2]

    def weights(self, critic_step: int) -> tuple[Tensor, ...]:
        """Those of the loss in one of the critic's steps, [] each."""
        return self.numbers[3:].view(len(self.chosen), -1)[critic_step].unbind()

    def on(self, device: torch.device, *, copied: bool = False) -> "Moment":
        """The same with its tensors on a device; `copied` so that they may be overwritten."""

        def there(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True, copy=copied)

        chosen = tuple(tuple(map(there, each)) for each in self.chosen)
        return Moment(**{**vars(self), "numbers": there(self.numbers), "chosen": chosen})

    def become(self, other: "Moment") -> None:
        """Take over the values of another moment of the same kind, in the same places of memory."""
        for own, theirs in zip(self._tensors(), other._tensors(), strict=True):
            own.copy_(theirs, non_blocking=True)

    def _tensors(self) -> tuple[Tensor, ...]:
        return self.numbers, *(tensor for each in self.chosen for tensor in each)


def moment_of(state: TrainState, recipe: Recipe, feed: Feed) -> Moment:
    """The iteration that follows where a state is."""
    options, before = recipe.options, state.seen_images
    after = before + options.images_per_iteration
    starts = range(before, after, options.batch_size)
    weights = [_loss_weights(recipe, seen_images) for seen_images in starts]
    decay = decay_at(
        after,
        images=options.images_per_iteration,
        half_life_images=options.ema_half_life_images,
        ramp=options.ema_ramp if options.init_from is None else math.inf,  # no random start to forget
    )
    rates = [
        value_at(each.learning_rate, before, options.total_images) * state.rate_scale
        for each in (options.critic_optimizer, options.generator_optimizer)
    ]
    due = tuple(tuple(each > 0 for each in of_step) for of_step in weights)
    numbers = torch.from_numpy(np.array([*rates, 1 - decay, *itertools.chain(*weights)], dtype=np.float32))
    return Moment(
        before=before,
        after=after,
        kind=Kind(due, state.augmentation.intervals(before, after)),
        critic_betas=_betas(options.critic_optimizer, before, options.total_images),
        generator_betas=_betas(options.generator_optimizer, before, options.total_images),
        numbers=numbers.pin_memory() if state.sums.is_cuda else numbers,
        chosen=tuple(feed.choose(seen_images) for seen_images in starts),
    )


def _loss_weights(recipe: Recipe, seen_images: int) -> tuple[float, ...]:
    loss, options = recipe.loss, recipe.options
    if isinstance(loss, GanOptions):
        return penalty_factors(loss, options, seen_images)
    return (value_at(loss.beta, seen_images, options.total_images),)


def _betas(options: OptimizerOptions, seen_images: int, total_images: int) -> Betas:
    return value_at(options.beta1, seen_images, total_images), value_at(options.beta2, seen_images, total_images)
