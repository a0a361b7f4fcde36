"""The mathematics of one step: the critic's, then the generator's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.config import LossOptions, TrainOptions
from ganlib.losses.adversarial import critic_loss, generator_loss, generator_needs_real_logits
from ganlib.losses.penalties import zero_centered_penalty
from ganlib.training.device import autocast
from ganlib.training.state import TrainState


@dataclass(frozen=True)
class RealBatch:
    """Real images [N, C, H, W] in [-1, 1] and their labels [N], on the device."""

    images: Tensor
    labels: Tensor | None


def critic_step(
    state: TrainState, real: RealBatch, latents: Tensor, loss: LossOptions, options: TrainOptions
) -> Tensor:
    """Update the critic once; returns (loss, penalty, mean real logit, mean fake logit) detached, [4]."""
    device = real.images.device
    with autocast(options, device):
        with torch.no_grad():
            fake = state.generator(latents, real.labels)
        penalised = loss.r1_gamma > 0 or loss.r2_gamma > 0
        real_images = real.images.detach().requires_grad_(penalised)
        fake_images = fake.detach().requires_grad_(penalised)
        real_logits, fake_logits = _both_logits(state, real_images, fake_images, real.labels)
    adversarial = critic_loss(loss.adversarial, real_logits, fake_logits).mean()
    penalty = torch.zeros((), device=device)
    if loss.r1_gamma > 0:
        penalty = penalty + loss.r1_gamma / 2 * zero_centered_penalty(real_logits, real_images).mean()
    if loss.r2_gamma > 0:
        penalty = penalty + loss.r2_gamma / 2 * zero_centered_penalty(fake_logits, fake_images).mean()
    state.critic_optimizer.zero_grad(set_to_none=True)
    (adversarial + penalty).backward()  # type: ignore[no-untyped-call]
    state.critic_optimizer.step()
    return torch.stack([adversarial, penalty, real_logits.mean(), fake_logits.mean()]).detach()


def generator_step(
    state: TrainState, real: RealBatch, latents: Tensor, loss: LossOptions, options: TrainOptions
) -> Tensor:
    """Update the generator once against the frozen critic; returns its loss detached, []."""
    state.critic.requires_grad_(False)
    with autocast(options, real.images.device):
        fake = state.generator(latents, real.labels)
        real_logits = None
        if generator_needs_real_logits(loss.adversarial):
            with torch.no_grad():
                real_logits = state.critic(real.images, real.labels)
        fake_logits = state.critic(fake, real.labels)
    adversarial = generator_loss(loss.adversarial, real_logits, fake_logits).mean()
    state.generator_optimizer.zero_grad(set_to_none=True)
    adversarial.backward()  # type: ignore[no-untyped-call]
    state.generator_optimizer.step()
    state.critic.requires_grad_(True)
    return adversarial.detach()


def _both_logits(state: TrainState, real: Tensor, fake: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Real and fake logits: one pass, unless batch statistics would mix the two."""
    if state.critic.couples_samples:
        return state.critic(real, labels), state.critic(fake, labels)
    both = None if labels is None else torch.cat([labels, labels])
    real_logits, fake_logits = state.critic(torch.cat([real, fake]), both).chunk(2)
    return real_logits, fake_logits
