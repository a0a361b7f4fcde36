"""Exponential moving average of the generator."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def decay_at(seen_images: int, *, images: int, half_life_images: int, ramp: float) -> float:
    """The decay of one step over `images`: 0.5 to their share of the half-life.

    The half-life is at most `ramp` times the images seen, so that the average
    forgets the random start (Karras et al. 2020, ADA, appendix C).
    """
    half_life = min(half_life_images, ramp * seen_images)
    return float(0.5 ** (images / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Move the average's parameters and real-valued buffers towards the current ones; copy the counters.

    The running statistics of batch norm are averaged like the weights they
    belong to (as Brock et al. 2019 did).
    """
    pairs = list(zip(_tensors(average), _tensors(current), strict=True))
    moving = [pair for pair in pairs if pair[0].is_floating_point()]
    average_all = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    average_all([mine for mine, _ in moving], [theirs for _, theirs in moving], 0)
    for mine, theirs in pairs:
        if not mine.is_floating_point():
            mine.copy_(theirs)


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()
