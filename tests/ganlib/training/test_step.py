"""One step against the same mathematics written out by hand."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganlib.config import ImageSpec
from ganlib.training.ema import decay_at, update_ema
from ganlib.training.randomness import generator_at
from ganlib.training.state import initial_state
from ganlib.training.step import RealBatch, critic_step, generator_step
from tests.configs import tiny_config

IMAGE = ImageSpec(size=16, channels=1, classes=("a", "b", "c"))


def setup(changes: dict):
    config = tiny_config(changes)
    state = initial_state(config, IMAGE, torch.device("cpu"))
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(8, 1, 16, 16, generator=draw) * 2 - 1
    labels = torch.arange(8) % 3
    latents = torch.randn(8, config.network.latent_dim, generator=draw)
    return config, state, RealBatch(images, labels), latents


def test_critic_step_with_penalties_equals_the_formula() -> None:
    changes = {
        "network.critic_norm": "none",
        "loss.adversarial": "relativistic",
        "loss.r1_gamma": 0.5,
        "loss.r2_gamma": 2.0,
    }
    config, state, real, latents = setup(changes)
    twin = copy.deepcopy(state.critic)
    fake = copy.deepcopy(state.generator)(latents, real.labels).detach()

    critic_step(state, real, latents, config.loss, config.train)

    penalty = torch.zeros(())
    logits = []
    for images, gamma in ((real.images, 0.5), (fake, 2.0)):
        inputs = images.clone().requires_grad_()
        out = twin(inputs, real.labels)
        (slope,) = torch.autograd.grad(out.sum(), inputs, create_graph=True)
        penalty = penalty + gamma / 2 * slope.square().sum(dim=(1, 2, 3)).mean()
        logits.append(out)
    (F.softplus(-(logits[0] - logits[1])).mean() + penalty).backward()
    for mine, theirs in zip(state.critic.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("adversarial", ["hinge", "non_saturating", "relativistic"])
def test_generator_step_moves_the_generator_only(adversarial: str) -> None:
    config, state, real, latents = setup({"loss.adversarial": adversarial, "network.critic_norm": "none"})
    critic_before = copy.deepcopy(state.critic.state_dict())
    generator_before = copy.deepcopy(state.generator.state_dict())
    generator_step(state, real, latents, config.loss, config.train)
    for name, value in state.critic.state_dict().items():
        assert torch.equal(value, critic_before[name])
    assert any(not torch.equal(v, generator_before[n]) for n, v in state.generator.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in state.critic.parameters())


def test_each_step_lowers_its_own_loss_on_the_same_batch() -> None:
    slow = {"train.critic_learning_rate": 1e-4, "train.generator_learning_rate": 1e-4, "network.critic_norm": "none"}
    config, state, real, latents = setup({**slow, "loss.adversarial": "non_saturating"})
    critic_losses = [float(critic_step(state, real, latents, config.loss, config.train)[0]) for _ in range(12)]
    assert critic_losses[-1] < critic_losses[0]
    generator_losses = [float(generator_step(state, real, latents, config.loss, config.train)) for _ in range(12)]
    assert generator_losses[-1] < generator_losses[0]


def test_ema_is_the_closed_form_for_weights_and_buffers() -> None:
    average, current = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        current.weight.fill_(3.0)
        current.running_mean.fill_(7.0)
        current.num_batches_tracked.fill_(5)
    update_ema(average, current, 0.9)
    np.testing.assert_allclose(average.weight.detach(), 0.9 * 1 + 0.1 * 3, rtol=1e-6)
    np.testing.assert_allclose(average.running_mean, 0.1 * 7, rtol=1e-6)
    assert int(average.num_batches_tracked) == 5


def test_ema_decay_is_a_half_life_in_images_with_ramp() -> None:
    steps = decay_at(10**9, batch_size=50, half_life_images=1000, ramp=0.05) ** 20
    assert steps == pytest.approx(0.5)
    assert decay_at(2000, batch_size=100, half_life_images=10**9, ramp=0.05) == pytest.approx(0.5)


def test_draws_are_functions_of_seed_purpose_and_clock() -> None:
    def draw(*key: object) -> torch.Tensor:
        return torch.randn(4, generator=generator_at(*key, torch.device("cpu")))

    assert torch.equal(draw(0, "critic", 64), draw(0, "critic", 64))
    for other in ((1, "critic", 64), (0, "generator", 64), (0, "critic", 128)):
        assert not torch.equal(draw(0, "critic", 64), draw(*other))
