"""One update of each network: forward, backward, the mean over the devices, Adam."""

from collections.abc import Sequence
from itertools import repeat

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ganlib.config import OptimizerOptions
from ganlib.training.distributed import Ranks
from ganlib.training.inputs import Inputs
from ganlib.training.moment import Penalties
from ganlib.training.objective import Objective
from ganlib.training.recipe import Recipe
from ganlib.training.state import Learner, TrainState


def critic_step(
    state: TrainState, recipe: Recipe, inputs: Inputs, ranks: Ranks, penalties: Penalties, *, keep_fakes: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Update the critic once.

    Returns its figures (CRITIC_FIGURES), [5], and where they are kept the images generated for each part, with what
    is needed to differentiate them.
    """
    objective, learner = Objective(state, recipe), state.critic_learner
    learner.optimizer.zero_grad(set_to_none=True)
    figures, fakes = [], []
    for part in inputs.parts(recipe.options.accumulation):
        with torch.set_grad_enabled(keep_fakes):
            fake = objective.generate(part)
        if keep_fakes:
            fakes.append(fake)
        terms = objective.critic(part, fake.detach(), penalties)
        learner.backward((terms.adversarial + terms.penalty) / recipe.options.accumulation)
        state.augmentation.observe(terms.real_logits.detach())
        told_penalty = _unless_skipped(terms.penalty, learner)
        figures.append(
            torch.stack([terms.adversarial, told_penalty, terms.real_logits.mean(), terms.fake_logits.mean()]).detach()
        )
    norm = _update(learner, recipe.options.critic_optimizer, ranks)
    return torch.cat([torch.stack(figures).mean(dim=0), norm[None]]), fakes


def generator_step(
    state: TrainState, recipe: Recipe, inputs: Inputs, ranks: Ranks, *, fakes: Sequence[Tensor] = ()
) -> Tensor:
    """Update the generator once against the frozen critic; returns its figures (GENERATOR_FIGURES), [2].

    `fakes` are those of the parts that `critic_step` kept; where there are none, new ones are made.
    """
    objective, learner = Objective(state, recipe), state.generator_learner
    learner.optimizer.zero_grad(set_to_none=True)
    state.critic_learner.freeze()
    losses = []
    for part, fake in zip(inputs.parts(recipe.options.accumulation), fakes or repeat(None), strict=False):
        loss = objective.generator(part, objective.generate(part) if fake is None else fake)
        learner.backward(loss / recipe.options.accumulation)
        losses.append(loss.detach())
    state.critic_learner.unfreeze()
    norm = _update(learner, recipe.options.generator_optimizer, ranks)
    return torch.stack([torch.stack(losses).mean(), norm])


def _update(learner: Learner, options: OptimizerOptions, ranks: Ranks) -> Tensor:
    """Average the gradients over the devices, clip them, step; returns their norm before clipping, []."""
    ranks.average_gradients(learner.parameters)
    learner.scaler.unscale_(learner.optimizer)
    norm = get_total_norm([each.grad for each in learner.parameters if each.grad is not None])
    if options.max_gradient_norm is not None:
        clip_grads_with_norm_(learner.parameters, options.max_gradient_norm, norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.spectral_norms.renew()
    return _unless_skipped(norm, learner)


def _unless_skipped(figure: Tensor, learner: Learner) -> Tensor:
    """0 in place of what fp16 has overflowed to: the scaler skips such a step and lowers the scale, by design."""
    return torch.nan_to_num(figure, nan=0.0, posinf=0.0, neginf=0.0) if learner.scaler.is_enabled() else figure
