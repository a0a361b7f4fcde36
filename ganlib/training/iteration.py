"""One iteration: what the objective has the networks learn, then the average of the generator."""

import torch

from ganlib.config import GanOptions
from ganlib.training.distributed import Ranks
from ganlib.training.ema import update_ema
from ganlib.training.gan import step as gan
from ganlib.training.inputs import Feed
from ganlib.training.moment import Moment, moment_of
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState
from ganlib.training.vae import step as vae


class Iteration:
    """Shows `images_per_iteration` real images and teaches the generator once.

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
        state = self.state
        self.configure(moment)
        play = gan.play if isinstance(self.recipe.loss, GanOptions) else vae.play
        play(state, self.recipe, self.feed, self.draws, self.ranks, moment)
        update_ema(state.ema, state.generator, moment.ema_weight)

    def configure(self, moment: Moment) -> None:
        """Give both optimisers the rates and betas of a moment that lies on the device."""
        self.state.partner_learner.configure(moment.critic_rate, moment.critic_betas)
        self.state.generator_learner.configure(moment.generator_rate, moment.generator_betas)

    def forget(self) -> None:
        """To be called after the state has loaded another's values; nothing is kept here."""


def take_mean_figures(state: TrainState, ranks: Ranks) -> torch.Tensor:
    """Mean figures over all processes since the last log point, float64 on the CPU; the sums start anew."""
    total = ranks.total(state.sums.to("cpu", copy=True)) / (state.summed_iterations * ranks.size)
    state.sums.zero_()
    state.summed_iterations = 0
    return total
