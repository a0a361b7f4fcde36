"""Which gradient penalties a critic step computes, and by how much they count."""

from typing import NamedTuple

from torch import Tensor

from ganlib.config import GanOptions, PenaltyOptions, TrainOptions
from ganlib.schedules import value_at


class Due(NamedTuple):
    """Which penalties a critic step computes."""

    r1: bool
    r2: bool
    gradient_penalty: bool


class Penalties(NamedTuple):
    """What each penalty is multiplied by in a critic step, a number or a [] tensor, and whether it is computed."""

    r1: float | Tensor
    r2: float | Tensor
    gradient_penalty: float | Tensor
    due: Due


def penalty_factors(loss: GanOptions, options: TrainOptions, seen_images: int) -> tuple[float, float, float]:
    """Of R1, R2 and the gradient penalty after `seen_images`, 0 where none is due.

    They are gamma / 2 for R1 and R2, and times the steps that a lazy penalty stands for.
    """

    def factor(penalty: PenaltyOptions) -> float:
        due = seen_images // options.batch_size % penalty.every_steps == 0
        return value_at(penalty.weight, seen_images, options.total_images) * penalty.every_steps if due else 0.0

    return factor(loss.r1) / 2, factor(loss.r2) / 2, factor(loss.gradient_penalty)
