"""A turn of the game: the critic's steps, then the generator's, each an update by its loss."""

from collections.abc import Sequence
from itertools import repeat

import torch
from torch import Tensor

from ganlib.training.distributed import Ranks
from ganlib.training.figures import CRITIC_FIGURES, GENERATOR_FIGURES
from ganlib.training.gan.objective import GanObjective, loss_of
from ganlib.training.gan.penalties import Due, Penalties
from ganlib.training.inputs import Feed, Inputs, draw_inputs, prepared
from ganlib.training.moment import Moment
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState


def play(state: TrainState, recipe: Recipe, feed: Feed, draws: Draws, ranks: Ranks, moment: Moment) -> None:
    """The device's part of an iteration: each of the critic's steps on its own batch, then the generator's."""
    latent_dim, kept = state.generator.latent_dim, recipe.options.reuse_fakes
    mixed = loss_of(recipe).gradient_penalty.active
    for index, chosen in enumerate(moment.chosen):
        real = prepared(recipe, feed.load(*chosen), draws)
        inputs = draw_inputs(recipe, real, latent_dim, draws, mixed=mixed)
        r1, r2, gradient_penalty = moment.weights(index)
        penalties = Penalties(r1, r2, gradient_penalty, Due(*moment.kind.due[index]))
        figures, fakes = critic_step(state, recipe, inputs, ranks, penalties, keep_fakes=kept)
        state.add_figures(CRITIC_FIGURES, figures, 1 / recipe.options.critic_steps)
    inputs = draw_inputs(recipe, real, latent_dim, draws, mixed=False)
    state.add_figures(GENERATOR_FIGURES, generator_step(state, recipe, inputs, ranks, fakes=fakes), 1.0)
    state.augmentation.adjust(moment.before, moment.after, ranks.total)


def critic_step(
    state: TrainState, recipe: Recipe, inputs: Inputs, ranks: Ranks, penalties: Penalties, *, keep_fakes: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Update the critic once.

    Returns its figures (CRITIC_FIGURES), [5], and where they are kept the images generated for each part, with what
    is needed to differentiate them.
    """
    objective, learner = GanObjective(state, recipe), state.partner_learner
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
        told_penalty = learner.unless_skipped(terms.penalty)
        figures.append(
            torch.stack([terms.adversarial, told_penalty, terms.real_logits.mean(), terms.fake_logits.mean()]).detach()
        )
    norm = learner.update(recipe.options.critic_optimizer, ranks)
    return torch.cat([torch.stack(figures).mean(dim=0), norm[None]]), fakes


def generator_step(
    state: TrainState, recipe: Recipe, inputs: Inputs, ranks: Ranks, *, fakes: Sequence[Tensor] = ()
) -> Tensor:
    """Update the generator once against the frozen critic; returns its figures (GENERATOR_FIGURES), [2].

    `fakes` are those of the parts that `critic_step` kept; where there are none, new ones are made.
    """
    objective, learner = GanObjective(state, recipe), state.generator_learner
    learner.optimizer.zero_grad(set_to_none=True)
    state.partner_learner.freeze()
    losses = []
    for part, fake in zip(inputs.parts(recipe.options.accumulation), fakes or repeat(None), strict=False):
        loss = objective.generator(part, objective.generate(part) if fake is None else fake)
        learner.backward(loss / recipe.options.accumulation)
        losses.append(loss.detach())
    state.partner_learner.unfreeze()
    norm = learner.update(recipe.options.generator_optimizer, ranks)
    return torch.stack([torch.stack(losses).mean(), norm])
