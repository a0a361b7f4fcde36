"""The probability of augmentation as part of the training's state."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor

from ganlib.config import (
    AdaOptions,
    AdaptiveControl,
    CriticAugmentation,
    DiffAugmentOptions,
    NoAugmentationOptions,
    Scheduled,
)
from ganlib.schedules import value_at


class ProbabilityControl:
    """Keeps `probability`, a [] float32 tensor that changes in place (a captured graph sees it change).

    No augmentation: 0. DiffAugment: 1. Scheduled: a function of the images
    shown. Adaptive (Karras et al. 2020, ADA, section 3.1): moved by how
    often the critic tells real images apart, r_t = mean sign of how far
    their logits lie above `undecided_logit` (0 in the paper, where the best
    critic finds real and generated images equally likely); `observe`
    collects it without waiting for the device.
    """

    probability: Tensor

    def __init__(
        self, options: CriticAugmentation, device: torch.device, total_images: int, *, undecided_logit: float = 0.0
    ) -> None:
        self._total_images = total_images
        self._undecided_logit = undecided_logit
        self._adaptive: AdaptiveControl | None = None
        self._schedule: Scheduled = 0.0
        match options:
            case NoAugmentationOptions():
                pass
            case DiffAugmentOptions():
                self._schedule = 1.0
            case AdaOptions():
                if isinstance(options.control, AdaptiveControl):
                    self._adaptive = options.control
                else:
                    self._schedule = options.control.probability
            case _:
                assert_never(options)
        self.probability = torch.zeros((), device=device)
        self._sums = torch.zeros(2, device=device)  # of the signs, and of the logits observed
        self.begin(seen_images=0)

    def begin(self, seen_images: int) -> None:
        """Set the probability for a step that begins when `seen_images` have been shown; not if adaptive."""
        if self._adaptive is None:
            self.probability.fill_(value_at(self._schedule, seen_images, self._total_images))

    def observe(self, real_logits: Tensor) -> None:
        """Take note of the critic's logits [N] on augmented real images; without effect unless adaptive."""
        if self._adaptive is not None:
            self._sums[0] += (real_logits.detach() - self._undecided_logit).sign().sum(dtype=torch.float32)
            self._sums[1] += real_logits.numel()

    def intervals(self, before: int, after: int) -> int:
        """How many intervals of the adaptive control end in (before, after] images shown."""
        control = self._adaptive
        return 0 if control is None else after // control.every_images - before // control.every_images

    def adjust(self, before: int, after: int, total: Callable[[Tensor], Tensor]) -> None:
        """Move the probability if an interval ended in (before, after] images shown; unless adaptive, nothing.

        Up by `every_images / full_range_images` for each interval that ended
        if r_t is above the target, down if it is below, within [0, 1]; what
        was observed is then forgotten. `total` sums a tensor over the ranks:
        all of them must call at the same steps.
        """
        control, ended = self._adaptive, self.intervals(before, after)
        if control is None or ended == 0:
            return
        signs, count = total(self._sums).unbind()
        stride = ended * control.every_images / control.full_range_images
        # Without a single observation there is nothing to follow.
        direction = torch.where(count > 0, (signs / count.clamp(min=1) - control.target).sign(), 0)
        self.probability.add_(direction * stride).clamp_(0, 1)
        self._sums.zero_()

    def state_dict(self, total: Callable[[Tensor], Tensor] = torch.clone) -> dict[str, Tensor]:
        """What a resumed run must know; with `total` as in `adjust`, for all ranks together."""
        return {"probability": self.probability.clone(), "sums": total(self._sums.clone())}

    def load_state_dict(self, state: dict[str, Tensor], *, ranks: int = 1) -> None:
        """Go on from `state_dict`; every one of `ranks` takes its even share of what was observed."""
        self.probability.copy_(state["probability"])
        self._sums.copy_(state["sums"] / ranks)
