"""One turn of the game: the critic's steps, the generator's step, the average."""

import math

import torch

from ganlib.training.distributed import Ranks
from ganlib.training.ema import decay_at, update_ema
from ganlib.training.graph import EagerSteps, Steps
from ganlib.training.inputs import Feed, inputs_at, real_at
from ganlib.training.randomness import seed_at
from ganlib.training.recipe import Recipe
from ganlib.training.state import CRITIC_FIGURES, GENERATOR_FIGURES, TrainState


def iterate(state: TrainState, recipe: Recipe, feed: Feed, ranks: Ranks, steps: Steps | None = None) -> None:
    """Show `images_per_iteration` real images to the critic, then teach the generator once.

    `steps` take the two steps of this state; where not given, they are taken eagerly.
    """
    options, latent_dim = recipe.options, state.generator.latent_dim
    if steps is None:
        steps = EagerSteps(state, recipe, ranks)
    before, total = state.seen_images, options.total_images
    state.generator_learner.apply_schedules(options.generator_optimizer, before, total, state.rate_scale)
    state.critic_learner.apply_schedules(options.critic_optimizer, before, total, state.rate_scale)
    state.augmentation.begin(before)
    for _ in range(options.critic_steps):
        seen = state.seen_images
        real = real_at(recipe, feed, seen, ranks)
        _seed_dropout("critic", state, recipe, ranks)
        figures = steps.critic(inputs_at("critic", recipe, real, seen, latent_dim, ranks))
        state.add_figures(CRITIC_FIGURES, figures, 1 / options.critic_steps)
        state.seen_images += options.batch_size
    _seed_dropout("generator", state, recipe, ranks)
    figures = steps.generator(inputs_at("generator", recipe, real, seen, latent_dim, ranks))
    state.add_figures(GENERATOR_FIGURES, figures, 1.0)
    state.augmentation.adjust(before, state.seen_images, ranks.total)
    state.summed_iterations += 1
    decay = decay_at(
        state.seen_images,
        images=options.images_per_iteration,
        half_life_images=options.ema_half_life_images,
        ramp=options.ema_ramp if options.init_from is None else math.inf,  # no random start to forget
    )
    update_ema(state.ema, state.generator, decay)


def _seed_dropout(purpose: str, state: TrainState, recipe: Recipe, ranks: Ranks) -> None:
    """Make dropout a function of the clock too; it draws from torch's global generator."""
    if state.drops_out:
        torch.manual_seed(seed_at(recipe.options.seed, f"{purpose} drops out in {ranks.rank}", state.seen_images))


def take_mean_figures(state: TrainState, ranks: Ranks) -> torch.Tensor:
    """Mean FIGURES over all processes since the last log point, float64 on the CPU; the sums start anew."""
    total = ranks.total(state.sums.to("cpu", copy=True)) / (state.summed_iterations * ranks.size)
    state.sums.zero_()
    state.summed_iterations = 0
    return total
