"""What an iteration takes from the clock, in one place: all that changes between two iterations of a kind."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganlib.config import OptimizerOptions, PenaltyOptions
from ganlib.schedules import value_at
from ganlib.training.ema import decay_at
from ganlib.training.inputs import Feed
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState

Betas = tuple[float, float]


class Due(NamedTuple):
    """Which penalties a critic step computes."""

    r1: bool
    r2: bool
    gradient_penalty: bool


class Penalties(NamedTuple):
    """What each penalty is multiplied by in a critic step, a number or a [] tensor, and whether it is computed."""

    r1: float | Tensor
    r2: float | Tensor
    gradient_penalty: float | Tensor
    due: Due


class Kind(NamedTuple):
    """What decides which kernels an iteration launches.

    The penalties due in each critic step, and how many intervals of the adaptive augmentation end in it.
    """

    due: tuple[Due, ...]
    intervals: int


@dataclass(frozen=True)
class Moment:
    """One iteration on the clock, from `before` to `after` images shown.

    `numbers`, float32, are the critic's and the generator's learning rate, the weight of the newest generator in the
    average, and the factors of the three penalties for each critic step: one tensor, so that they cross to a GPU
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

    def penalties(self, critic_step: int) -> Penalties:
        """Those of one of the critic's steps."""
        first = 3 + 3 * critic_step
        r1, r2, gradient_penalty = self.numbers[first : first + 3].unbind()
        return Penalties(r1, r2, gradient_penalty, self.kind.due[critic_step])

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
    penalties = [penalties_at(recipe, seen_images) for seen_images in starts]
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
    factors = [factor for each in penalties for factor in (each.r1, each.r2, each.gradient_penalty)]
    numbers = torch.from_numpy(np.array([*rates, 1 - decay, *factors], dtype=np.float32))
    return Moment(
        before=before,
        after=after,
        kind=Kind(tuple(each.due for each in penalties), state.augmentation.intervals(before, after)),
        critic_betas=_betas(options.critic_optimizer, before, options.total_images),
        generator_betas=_betas(options.generator_optimizer, before, options.total_images),
        numbers=numbers.pin_memory() if state.sums.is_cuda else numbers,
        chosen=tuple(feed.choose(seen_images) for seen_images in starts),
    )


def penalties_at(recipe: Recipe, seen_images: int) -> Penalties:
    """The factors after `seen_images`: gamma / 2 for R1 and R2, times the steps that a lazy one stands for."""
    loss, options = recipe.loss, recipe.options

    def factor(penalty: PenaltyOptions) -> float:
        due = seen_images // options.batch_size % penalty.every_steps == 0
        return value_at(penalty.weight, seen_images, options.total_images) * penalty.every_steps if due else 0.0

    r1, r2, gradient_penalty = factor(loss.r1) / 2, factor(loss.r2) / 2, factor(loss.gradient_penalty)
    return Penalties(r1, r2, gradient_penalty, Due(r1 > 0, r2 > 0, gradient_penalty > 0))


def _betas(options: OptimizerOptions, seen_images: int, total_images: int) -> Betas:
    return value_at(options.beta1, seen_images, total_images), value_at(options.beta2, seen_images, total_images)
