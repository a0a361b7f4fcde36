"""Schedules: functions of the images-shown clock."""

import math
from typing import assert_never

from ganlib.config import Schedule


def value_at(figure: float | Schedule, seen_images: int) -> float:
    """The value of a scheduled figure when `seen_images` have been shown; a number is a constant."""
    if not isinstance(figure, Schedule):
        return figure
    passed = min(seen_images / figure.over_images, 1.0)
    match figure.shape:
        case "linear":
            share = passed
        case "cosine":  # half a period: Loshchilov & Hutter 2017, eq. 5
            share = (1 - math.cos(math.pi * passed)) / 2
        case _:
            assert_never(figure.shape)
    value = figure.start + (figure.end - figure.start) * share
    if seen_images < figure.warmup_images:
        value *= seen_images / figure.warmup_images
    return value
