"""Exponential moving average of the generator."""

from collections.abc import Iterator

import torch
from torch import nn


def decay_at(seen_images: int, *, images: int, half_life_images: int, ramp: float) -> float:
    """The decay of one step over `images`: 0.5 to their share of the half-life.

    The half-life is at most `ramp` times the images seen, so that the average
    forgets the random start (Karras et al. 2020, ADA, appendix C).
    """
    half_life = min(half_life_images, ramp * seen_images)
    return float(0.5 ** (images / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, current: nn.Module, weight: torch.Tensor) -> None:
    """Move the average's parameters and real-valued buffers by `weight` of the way to the current ones.

    `weight` [] is 1 - decay, a tensor on the device; counters are copied.

    The running statistics of batch norm are averaged like the weights they
    belong to (as Brock et al. 2019 did).
    """
    mine, theirs = list(_tensors(average)), list(_tensors(current))
    moving = [index for index, tensor in enumerate(mine) if tensor.is_floating_point()]
    counters = [index for index, tensor in enumerate(mine) if not tensor.is_floating_point()]
    averages = [mine[index] for index in moving]
    torch._foreach_lerp_(averages, [theirs[index] for index in moving], [weight.to(each.dtype) for each in averages])
    if counters:
        torch._foreach_copy_([mine[index] for index in counters], [theirs[index] for index in counters])


def _tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()
