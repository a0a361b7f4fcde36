"""A turn of the game: the critic's steps, then the generator's, each an update by its loss."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat

import torch
from torch import Tensor

from ganlib.config import StylesOptions, UnpairedOptions
from ganlib.training.distributed import Ranks
from ganlib.training.figures import CRITIC_FIGURES, GENERATOR_FIGURES, added_figures
from ganlib.training.gan.cycle import CycleObjective, partly_earlier
from ganlib.training.gan.objective import GanObjective, loss_of
from ganlib.training.gan.penalties import Due, Penalties
from ganlib.training.gan.styles import StylesObjective
from ganlib.training.inputs import Feed, Inputs, draw_inputs, prepared
from ganlib.training.moment import Moment
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState


def play(state: TrainState, recipe: Recipe, feed: Feed, draws: Draws, ranks: Ranks, moment: Moment) -> None:
    """The device's part of an iteration: each of the critic's steps on its own batch, then the generator's."""
    latent_dim, last = state.generator.latent_dim, len(moment.chosen) - 1
    mixed = loss_of(recipe).gradient_penalty.active
    for index, chosen in enumerate(moment.chosen):
        shown = draw_inputs(recipe, prepared(recipe, feed.load(*chosen), draws), latent_dim, draws, mixed=mixed)
        kept = recipe.options.reuse_fakes and index == last
        figures, fakes = critic_step(
            state, recipe, shown, ranks, _penalties(moment, index), draws=draws, keep_fakes=kept
        )
        state.add_figures(CRITIC_FIGURES, figures, 1 / recipe.options.critic_steps)
    inputs = draw_inputs(recipe, shown.real, latent_dim, draws, mixed=False)
    if fakes:
        inputs = replace(inputs, latents=shown.latents, targets=shown.targets)  # what the fakes were made from
    names = GENERATOR_FIGURES + added_figures(recipe.loss)
    state.add_figures(names, generator_step(state, recipe, inputs, ranks, fakes=fakes), 1.0)
    state.augmentation.adjust(moment.before, moment.after, ranks.total)


def _penalties(moment: Moment, index: int) -> Penalties:
    r1, r2, gradient_penalty = moment.weights(index)
    return Penalties(r1, r2, gradient_penalty, Due(*moment.kind.due[index]))


def objective_of(state: TrainState, recipe: Recipe) -> GanObjective | CycleObjective | StylesObjective:
    """The losses of a game: of one generator, of two that are each other's way back, or of one into several styles."""
    match recipe.loss:
        case UnpairedOptions():
            return CycleObjective(state, recipe)
        case StylesOptions():
            return StylesObjective(state, recipe)
        case _:
            return GanObjective(state, recipe)


def critic_step(
    state: TrainState,
    recipe: Recipe,
    inputs: Inputs,
    ranks: Ranks,
    penalties: Penalties,
    *,
    draws: Draws | None = None,
    keep_fakes: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """Update the critic once; `draws` say which images are exchanged with the history, None: none are.

    Returns its figures (CRITIC_FIGURES), [5], and where they are kept the images generated for each part, with what
    is needed to differentiate them.
    """
    objective, learner = objective_of(state, recipe), state.partner_learner
    learner.optimizer.zero_grad(set_to_none=True)
    parts = list(inputs.parts(recipe.options.accumulation))
    with torch.set_grad_enabled(keep_fakes):
        fakes = [objective.generate(part) for part in parts]
    shown = [fake.detach() for fake in fakes]
    if draws is not None and len(state.image_history):
        shown = list(partly_earlier(state.image_history, torch.cat(shown), draws).chunk(len(parts)))
    figures = []
    for part, fake in zip(parts, shown, strict=True):
        terms = objective.critic(part, fake, penalties)
        learner.backward((terms.adversarial + terms.penalty) / recipe.options.accumulation)
        state.augmentation.observe(terms.real_logits.detach())
        told_penalty = learner.unless_skipped(terms.penalty)
        figures.append(
            torch.stack([terms.adversarial, told_penalty, terms.real_logits.mean(), terms.fake_logits.mean()]).detach()
        )
    norm = learner.update(recipe.options.critic_optimizer, ranks)
    return torch.cat([torch.stack(figures).mean(dim=0), norm[None]]), fakes if keep_fakes else []


def generator_step(
    state: TrainState, recipe: Recipe, inputs: Inputs, ranks: Ranks, *, fakes: Sequence[Tensor] = ()
) -> Tensor:
    """Update the generator once against the frozen critic; returns its figures (GENERATOR_FIGURES and more), [2 …].

    `fakes` are those of the parts that `critic_step` kept; where there are none, new ones are made.
    """
    objective, learner = objective_of(state, recipe), state.generator_learner
    learner.optimizer.zero_grad(set_to_none=True)
    state.partner_learner.freeze()
    found = []
    for part, fake in zip(inputs.parts(recipe.options.accumulation), fakes or repeat(None), strict=False):
        loss, *more = objective.generator(part, objective.generate(part) if fake is None else fake)
        learner.backward(loss / recipe.options.accumulation)
        found.append(torch.stack([loss.detach(), *more]))
    state.partner_learner.unfreeze()
    norm = learner.update(recipe.options.generator_optimizer, ranks)
    told = torch.stack(found).mean(dim=0)
    return torch.cat([told[:1], norm[None], told[1:]])
