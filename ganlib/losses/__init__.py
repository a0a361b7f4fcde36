"""Adversarial losses and penalties as per-sample functions."""

from ganlib.losses.adversarial import critic_loss, generator_loss, generator_needs_real_logits
from ganlib.losses.penalties import zero_centered_penalty

__all__ = [
    "critic_loss",
    "generator_loss",
    "generator_needs_real_logits",
    "zero_centered_penalty",
]
