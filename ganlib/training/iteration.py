"""One turn of the game: the critic's steps, the generator's step, the average."""

import torch

from ganlib.training.distributed import Ranks
from ganlib.training.ema import update_ema
from ganlib.training.inputs import Feed, draw_inputs, mirrored
from ganlib.training.moment import Moment, moment_of
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import CRITIC_FIGURES, GENERATOR_FIGURES, TrainState
from ganlib.training.step import critic_step, generator_step


class Iteration:
    """Shows `images_per_iteration` real images to the critic, then teaches the generator once.

    `run` reads the clock and moves it on; `play` is all that the device does, as a function of the moment alone.
    """

    def __init__(self, state: TrainState, recipe: Recipe, feed: Feed, ranks: Ranks) -> None:
        self.state, self.recipe, self.feed, self.ranks = state, recipe, feed, ranks
        self.device = state.sums.device
        self.draws = Draws(recipe.options, ranks, self.device)

    def run(self) -> None:
        """Train for one iteration."""
        state = self.state
        moment = moment_of(state, self.recipe, self.feed)
        state.augmentation.begin(moment.before)
        self.draws.begin(moment.before)
        self.launch(moment)
        state.seen_images = moment.after
        state.summed_iterations += 1

    def launch(self, moment: Moment) -> None:
        """Have the device do its part: here, operation by operation."""
        self.play(moment.on(self.device))

    def play(self, moment: Moment) -> None:
        """The device's part; it neither waits for the device nor reads the clock, so that a graph can repeat it."""
        state, recipe, draws = self.state, self.recipe, self.draws
        self.configure(moment)
        latent_dim, kept = state.generator.latent_dim, recipe.options.reuse_fakes
        for index, chosen in enumerate(moment.chosen):
            real = mirrored(recipe, self.feed.load(*chosen), draws)
            inputs = draw_inputs(recipe, real, latent_dim, draws, mixed=True)
            figures, fakes = critic_step(state, recipe, inputs, self.ranks, moment.penalties(index), keep_fakes=kept)
            state.add_figures(CRITIC_FIGURES, figures, 1 / recipe.options.critic_steps)
        inputs = draw_inputs(recipe, real, latent_dim, draws, mixed=False)
        state.add_figures(GENERATOR_FIGURES, generator_step(state, recipe, inputs, self.ranks, fakes=fakes), 1.0)
        state.augmentation.adjust(moment.before, moment.after, self.ranks.total)
        update_ema(state.ema, state.generator, moment.ema_weight)

    def configure(self, moment: Moment) -> None:
        """Give both optimisers the rates and betas of a moment that lies on the device."""
        self.state.critic_learner.configure(moment.critic_rate, moment.critic_betas)
        self.state.generator_learner.configure(moment.generator_rate, moment.generator_betas)

    def forget(self) -> None:
        """To be called after the state has loaded another's values; nothing is kept here."""


def take_mean_figures(state: TrainState, ranks: Ranks) -> torch.Tensor:
    """Mean FIGURES over all processes since the last log point, float64 on the CPU; the sums start anew."""
    total = ranks.total(state.sums.to("cpu", copy=True)) / (state.summed_iterations * ranks.size)
    state.sums.zero_()
    state.summed_iterations = 0
    return total
