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
    with autocast(options, real.images.device):
        with torch.no_grad():
            fake = state.generator(latents, real.labels)
        real_logits, fake_logits, penalty = _judge_both(state, real, fake, loss)
    adversarial = critic_loss(loss.adversarial, real_logits, fake_logits).mean()
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


def _judge_both(state: TrainState, real: RealBatch, fake: Tensor, loss: LossOptions) -> tuple[Tensor, Tensor, Tensor]:
    """Real and fake logits [N] and the weighted penalty []: one pass, unless batch statistics would mix the two."""
    nothing = torch.zeros((), device=fake.device)
    if state.critic.couples_samples:
        return state.critic(real.images, real.labels), state.critic(fake, real.labels), nothing
    penalised = loss.r1_gamma > 0 or loss.r2_gamma > 0
    images = torch.cat([real.images, fake]).requires_grad_(penalised)
    logits = state.critic(images, None if real.labels is None else real.labels.repeat(2))
    real_logits, fake_logits = logits.chunk(2)
    if not penalised:
        return real_logits, fake_logits, nothing
    # One backward for both penalties: halves of one pass would each go through the whole batch.
    r1, r2 = zero_centered_penalty(logits, images).chunk(2)
    return real_logits, fake_logits, loss.r1_gamma / 2 * r1.mean() + loss.r2_gamma / 2 * r2.mean()
