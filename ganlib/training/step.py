"""The mathematics of one step: the critic's, then the generator's."""

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ganlib.config import OptimizerOptions, PenaltyOptions
from ganlib.losses import (
    critic_loss,
    generator_loss,
    generator_needs_real_logits,
    interpolate,
    one_centered_penalty,
    zero_centered_penalty,
)
from ganlib.schedules import value_at
from ganlib.training.distributed import Ranks
from ganlib.training.inputs import Inputs
from ganlib.training.precision import autocast
from ganlib.training.recipe import Recipe
from ganlib.training.state import Learner, TrainState


class Due(NamedTuple):
    """Which penalties a step computes."""

    r1: bool
    r2: bool
    gradient_penalty: bool


class Penalties(NamedTuple):
    """What each penalty is multiplied by in this step, a number or a [] tensor, and whether it is computed at all."""

    r1: float | Tensor
    r2: float | Tensor
    gradient_penalty: float | Tensor
    due: Due


def penalties_at(recipe: Recipe, seen_images: int) -> Penalties:
    """The factors after `seen_images`: gamma / 2 for R1 and R2, times the steps that a lazy one stands for."""
    loss, options = recipe.loss, recipe.options

    def factor(penalty: PenaltyOptions) -> float:
        due = seen_images // options.batch_size % penalty.every_steps == 0
        return value_at(penalty.weight, seen_images, options.total_images) * penalty.every_steps if due else 0.0

    r1, r2, gradient_penalty = factor(loss.r1) / 2, factor(loss.r2) / 2, factor(loss.gradient_penalty)
    return Penalties(r1, r2, gradient_penalty, Due(r1 > 0, r2 > 0, gradient_penalty > 0))


def critic_step(
    state: TrainState,
    recipe: Recipe,
    inputs: Inputs,
    ranks: Ranks,
    *,
    penalties: Penalties | None = None,
    fakes: list[Tensor] | None = None,
) -> Tensor:
    """Update the critic once; returns its figures (CRITIC_FIGURES), [5].

    Where `penalties` are not given they are those of the clock. A list of
    `fakes` gets the images generated for each part, with what is needed to
    differentiate them.
    """
    if penalties is None:
        penalties = penalties_at(recipe, state.seen_images)
    learner = state.critic_learner
    learner.optimizer.zero_grad(set_to_none=True)
    parts = inputs.parts(recipe.options.accumulation)
    figures = [_critic_backward(state, recipe, part, penalties, fakes) for part in parts]
    norm = _update(learner, recipe.options.critic_optimizer, ranks)
    return torch.cat([torch.stack(figures).mean(dim=0), norm[None]])


def generator_step(
    state: TrainState, recipe: Recipe, inputs: Inputs, ranks: Ranks, *, fakes: Sequence[Tensor] = ()
) -> Tensor:
    """Update the generator once against the frozen critic; returns its figures (GENERATOR_FIGURES), [2].

    `fakes` are those of the parts that `critic_step` kept; where there are none, new ones are made.
    """
    learner = state.generator_learner
    learner.optimizer.zero_grad(set_to_none=True)
    state.critic_learner.freeze()
    parts = inputs.parts(recipe.options.accumulation)
    losses = [
        _generator_backward(state, recipe, part, fake) for part, fake in zip(parts, fakes or repeat(None), strict=False)
    ]
    state.critic_learner.unfreeze()
    norm = _update(learner, recipe.options.generator_optimizer, ranks)
    return torch.stack([torch.stack(losses).mean(), norm])


def _critic_backward(
    state: TrainState, recipe: Recipe, inputs: Inputs, penalties: Penalties, fakes: list[Tensor] | None
) -> Tensor:
    """Add one part's gradients; returns (loss, penalty, mean real logit, mean fake logit), [4]."""
    real, loss = inputs.real, recipe.loss
    with autocast(recipe.options, real.images.device):
        with torch.set_grad_enabled(fakes is not None):
            fake = state.generator(inputs.latents, real.labels)
        if fakes is not None:
            fakes.append(fake)
            fake = fake.detach()
        real_logits, fake_logits, penalty = _judge_both(state, recipe, inputs, fake, penalties)
        if penalties.due.gradient_penalty:
            penalty = penalty + penalties.gradient_penalty * _between(state, recipe, inputs, fake)
    adversarial = critic_loss(loss.adversarial, real_logits, fake_logits, label_smoothing=loss.label_smoothing).mean()
    state.augmentation.observe(real_logits.detach())
    whole = (adversarial + penalty) / recipe.options.accumulation
    state.critic_learner.scaler.scale(whole).backward()  # type: ignore[no-untyped-call]
    told_penalty = _unless_skipped(penalty, state.critic_learner)
    return torch.stack([adversarial, told_penalty, real_logits.mean(), fake_logits.mean()]).detach()


def _judge_both(
    state: TrainState, recipe: Recipe, inputs: Inputs, fake: Tensor, penalties: Penalties
) -> tuple[Tensor, Tensor, Tensor]:
    """Real and fake logits [N] and R1 plus R2 [].

    One pass over both kinds of images, unless batch statistics would mix
    them, or a penalty, which is the quicker the smaller the pass that it is
    differentiated through.
    """
    real, due = inputs.real, penalties.due
    if state.critic.couples_samples or due.r1 or due.r2:
        real_logits, r1 = _judge(state, recipe, real.images, real.labels, inputs.real_draws, due.r1)
        fake_logits, r2 = _judge(state, recipe, fake, real.labels, inputs.fake_draws, due.r2)
        return real_logits, fake_logits, penalties.r1 * r1 + penalties.r2 * r2
    images = torch.cat([real.images, fake])
    draws = None
    if inputs.real_draws is not None and inputs.fake_draws is not None:
        draws = torch.cat([inputs.real_draws, inputs.fake_draws])
    labels = None if real.labels is None else real.labels.repeat(2)
    real_logits, fake_logits = state.critic(_augmented(state, recipe, images, draws), labels).chunk(2)
    return real_logits, fake_logits, torch.zeros((), device=fake.device)


def _judge(
    state: TrainState, recipe: Recipe, images: Tensor, labels: Tensor | None, draws: Tensor | None, penalised: bool
) -> tuple[Tensor, Tensor]:
    """Logits [N] of one kind of images, and their mean squared gradient norm [] (0 where it is not asked for)."""
    if not penalised:
        logits = state.critic(_augmented(state, recipe, images, draws), labels)
        return logits, torch.zeros((), device=images.device)
    images = images.detach().requires_grad_()
    # A compiled critic cannot be differentiated twice; `forward` is never compiled.
    logits = state.critic.forward(_augmented(state, recipe, images, draws), labels)
    return logits, zero_centered_penalty(logits, images, loss_scale=_scale(state)).mean()


def _between(state: TrainState, recipe: Recipe, inputs: Inputs, fake: Tensor) -> Tensor:
    """The WGAN gradient penalty [] on images between real and fake ones."""
    assert inputs.mixing is not None
    images = interpolate(inputs.real.images, fake, inputs.mixing).requires_grad_()
    seen = _augmented(state, recipe, images, inputs.real_draws)
    logits = state.critic.forward(seen, inputs.real.labels)
    return one_centered_penalty(logits, images, loss_scale=_scale(state)).mean()


def _generator_backward(state: TrainState, recipe: Recipe, inputs: Inputs, fake: Tensor | None) -> Tensor:
    """Add one part's gradients; returns the loss, detached, []."""
    real, name = inputs.real, recipe.loss.adversarial
    with autocast(recipe.options, real.images.device):
        if fake is None:
            fake = state.generator(inputs.latents, real.labels)
        real_logits = None
        if generator_needs_real_logits(name):
            with torch.no_grad():
                seen = _augmented(state, recipe, real.images, inputs.real_draws)
                real_logits = state.critic(seen, real.labels)
        fake_logits = state.critic(_augmented(state, recipe, fake, inputs.fake_draws), real.labels)
    adversarial = generator_loss(name, real_logits, fake_logits).mean()
    whole = adversarial / recipe.options.accumulation
    state.generator_learner.scaler.scale(whole).backward()  # type: ignore[no-untyped-call]
    return adversarial.detach()


def _augmented(state: TrainState, recipe: Recipe, images: Tensor, draws: Tensor | None) -> Tensor:
    if recipe.augment is None:
        return images
    assert draws is not None
    return recipe.augment(images, draws, state.augmentation.probability)


def _scale(state: TrainState) -> Tensor | float:
    """What fp16 gradients are multiplied by, read without waiting for the device."""
    scaler = state.critic_learner.scaler
    if not scaler.is_enabled():
        return 1.0
    scaled: Tensor = scaler.scale(torch.ones((), device=state.sums.device))
    return scaled


def _update(learner: Learner, options: OptimizerOptions, ranks: Ranks) -> Tensor:
    """Average the gradients over the devices, clip them, step; returns their norm before clipping, []."""
    ranks.average_gradients(learner.parameters)
    learner.scaler.unscale_(learner.optimizer)
    norm = get_total_norm([each.grad for each in learner.parameters if each.grad is not None])
    if options.max_gradient_norm is not None:
        clip_grads_with_norm_(learner.parameters, options.max_gradient_norm, norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    return _unless_skipped(norm, learner)


def _unless_skipped(figure: Tensor, learner: Learner) -> Tensor:
    """0 in place of what fp16 has overflowed to: the scaler skips such a step and lowers the scale, by design."""
    return torch.nan_to_num(figure, nan=0.0, posinf=0.0, neginf=0.0) if learner.scaler.is_enabled() else figure
