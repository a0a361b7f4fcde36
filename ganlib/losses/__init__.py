"""Adversarial losses and penalties as per-sample functions."""

from ganlib.losses.adversarial import (
    critic_loss,
    critic_loss_floor,
    generator_loss,
    generator_needs_real_logits,
    undecided_logit,
)
from ganlib.losses.penalties import interpolate, one_centered_penalty, zero_centered_penalty

__all__ = [
    "critic_loss",
    "critic_loss_floor",
    "generator_loss",
    "generator_needs_real_logits",
    "interpolate",
    "one_centered_penalty",
    "undecided_logit",
    "zero_centered_penalty",
]
