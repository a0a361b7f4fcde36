"""One update of encoder and generator by the evidence bound."""

import torch

from ganlib.training.distributed import Ranks
from ganlib.training.figures import VAE_FIGURES
from ganlib.training.inputs import Feed, draw_inputs, prepared
from ganlib.training.moment import Moment
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState
from ganlib.training.vae.objective import VaeObjective


def play(state: TrainState, recipe: Recipe, feed: Feed, draws: Draws, ranks: Ranks, moment: Moment) -> None:
    """The device's part of an iteration."""
    objective, learners = VaeObjective(state, recipe), (state.partner_learner, state.generator_learner)
    real = prepared(recipe, feed.load(*moment.chosen[0]), draws)
    inputs = draw_inputs(recipe, real, state.generator.latent_dim, draws, mixed=False)
    (beta,) = moment.weights(0)
    for learner in learners:
        learner.optimizer.zero_grad(set_to_none=True)
    found = []
    for part in inputs.parts(recipe.options.accumulation):
        terms = objective.terms(part)
        loss = beta * terms.divergence - terms.log_likelihood
        state.partner_learner.backward(loss / recipe.options.accumulation)
        found.append(torch.stack(terms).detach())
    log_likelihood, divergence, squared_error = torch.stack(found).mean(dim=0)
    norms = [
        learner.update(options, ranks)
        for learner, options in zip(
            learners, (recipe.options.critic_optimizer, recipe.options.generator_optimizer), strict=True
        )
    ]
    objective.renew_variance(ranks.total(squared_error) / ranks.size)
    state.add_figures(VAE_FIGURES, torch.stack([log_likelihood - divergence, log_likelihood, divergence, *norms]), 1.0)
