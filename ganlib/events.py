"""What a long computation tells its surroundings, without knowing them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scalars:
    """Named figures at a point of the images-shown clock, such as `loss/critic`."""

    seen_images: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Picture:
    """A picture at a point of the clock: uint8 [H, W, C], C being 1, 3 or 4."""

    seen_images: int
    name: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Progress:
    """How far the computation is; the total is None while nobody knows it."""

    seen_images: int
    total_images: int | None
    images_per_s: float


@dataclass(frozen=True)
class Notice:
    """A sentence for people: resumed from a checkpoint, a damaged one passed over."""

    text: str


@dataclass(frozen=True)
class Alarm:
    """A training that is not healthy: the figure that says so, past its limit, and a sentence for people."""

    seen_images: int
    name: str
    figure: str
    value: float
    limit: float
    text: str


Event = Scalars | Picture | Progress | Notice | Alarm
EventSink = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """The silent sink."""
