"""Exponential moving average of the generator."""

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def decay_at(seen_images: int, *, batch_size: int, half_life_images: int, ramp: float) -> float:
    """The decay of one step: 0.5 to the batch over the half-life.

    The half-life is at most `ramp` times the images seen, so that the average
    forgets the random start (Karras et al. 2020, ADA, appendix C).
    """
    half_life = min(half_life_images, ramp * seen_images)
    return float(0.5 ** (batch_size / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Move the average's parameters towards the current ones; copy the buffers."""
    average_all = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average_all(list(average.parameters()), list(current.parameters()), 0)
    for mine, theirs in zip(average.buffers(), current.buffers(), strict=True):
        mine.copy_(theirs)
