"""The evidence bound against PyTorch's distributions, and a variational autoencoder as a whole."""

from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ganlib.config import RunConfig
from ganlib.training.distributed import ALONE
from ganlib.training.inputs import Inputs
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from ganlib.training.vae.objective import LEVEL_VARIANCE, VaeObjective
from tests.configs import VAE, changed, tiny_config, tiny_values
from tests.toy_training import IMAGE, ToyFeed


def setup(changes: dict[str, Any]) -> tuple[TrainState, Recipe, ToyFeed]:
    config = tiny_config({**VAE, **changes})
    return initial_state(config, IMAGE, torch.device("cpu")), Recipe.of(config, IMAGE), ToyFeed(config)


def test_the_terms_are_those_of_gaussian_posterior_prior_and_pixels() -> None:
    state, recipe, feed = setup({})
    state.encoder.pixel_variance.fill_(0.3)
    real, noise = feed.at(0), torch.randn(8, 8)
    found = VaeObjective(state, recipe).terms(Inputs(real, noise, None, None, None))

    mean, log_variance = state.encoder(real.images)
    posterior = Normal(mean, (log_variance / 2).exp())
    latents = mean + (log_variance / 2).exp() * noise
    images = state.generator(latents, real.condition)
    pixels = Normal(images, torch.tensor(0.3).sqrt())
    values = real.images.numel()
    torch.testing.assert_close(found.log_likelihood, pixels.log_prob(real.images).sum() / values)
    torch.testing.assert_close(found.divergence, kl_divergence(posterior, Normal(0.0, 1.0)).sum() / values)
    torch.testing.assert_close(found.squared_error, (images - real.images).square().sum() / values)


def test_the_variance_of_the_pixels_is_the_likeliest_one() -> None:
    state, recipe, feed = setup({})
    objective, inputs = VaeObjective(state, recipe), Inputs(feed.at(0), torch.randn(8, 8), None, None, None)
    error = objective.terms(inputs).squared_error.detach()
    likelihoods = []
    for factor in (0.9, 1.0, 1.1):
        objective.renew_variance(factor * error - LEVEL_VARIANCE)
        likelihoods.append(float(objective.terms(inputs).log_likelihood.detach()))
    assert likelihoods[1] > max(likelihoods[0], likelihoods[2])


@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet", "biggan", "r3gan"])
def test_the_bound_rises_with_every_family(network: str) -> None:
    changes = {} if network == "dcgan" else {"network": network}
    names = [name for name in VAE if network == "dcgan" or not name.startswith("network.")]
    config = RunConfig.model_validate(
        changed(tiny_values(changes), {**{name: VAE[name] for name in names}, "train.total_images": 800})
    )
    state, feed = initial_state(config, IMAGE, torch.device("cpu")), ToyFeed(config)
    iteration = Iteration(state, Recipe.of(config, IMAGE), feed, ALONE)
    bounds = []
    for _ in range(2):
        for _ in range(50):
            iteration.run()
        bounds.append(float(take_mean_figures(state, ALONE)[state.figures.index("evidence/bound")]))
    assert bounds[1] > bounds[0] + 0.1


def test_a_batch_in_parts_is_the_whole_batch() -> None:
    """Without batch norm, after a few iterations, to rounding."""
    found = []
    for accumulation in (1, 2):
        changes = {"network": "r3gan", "loss": VAE["loss"], "train.accumulation": accumulation}
        more = {name: value for name, value in VAE.items() if not name.startswith(("network", "loss"))}
        config = tiny_config({**changes, **more})
        state = initial_state(config, IMAGE, torch.device("cpu"))
        iteration = Iteration(state, Recipe.of(config, IMAGE), ToyFeed(config), ALONE)
        for _ in range(3):
            iteration.run()
        learned = (*state.generator.parameters(), *state.encoder.parameters())
        found.append(torch.cat([each.detach().flatten() for each in learned]))
        found.append(state.encoder.pixel_variance.reshape(1))
    torch.testing.assert_close(found[0], found[2], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[1], found[3])


REFUSED = [
    ("augmentation.critic", {"policy": "diffaugment", "colour": True, "translation": 0.1, "cutout": 0.1}, "none"),
    ("train.critic_steps", 2, "1"),
    ("train.reuse_fakes", True, "false"),
    ("train.alarms.critic_won", 0.01, "null"),
    ("evaluate.latent.kept_share", 0.5, "null"),
    ("train.precision", "fp16", "bf16"),
]


@pytest.mark.parametrize(("name", "value", "instead"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_needs_a_critic_is_refused_by_name(name: str, value: object, instead: str) -> None:
    with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')}.*loss.objective=vae.*{instead}"):
        tiny_config({**VAE, "train.device": "auto", name: value})
