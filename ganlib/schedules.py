"""Schedules: functions of the images-shown clock."""

import math
from collections.abc import Iterator
from typing import assert_never

from ganlib.config import Options, RunConfig, Schedule


def value_at(figure: float | Schedule, seen_images: int, total_images: int) -> float:
    """The value of a scheduled figure when `seen_images` of a run of `total_images` have been shown.

    A number is a constant.
    """
    if not isinstance(figure, Schedule):
        return figure
    passed = min(seen_images / (figure.over_images or total_images), 1.0)
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


def schedules_of(config: RunConfig) -> dict[str, Schedule]:
    """All schedules of a run by their dotted names in params.yaml."""
    return dict(_schedules(config, ""))


def follow_run(config: RunConfig) -> bool:
    """Whether any schedule depends on the length of the run."""
    return any(each.follows_run for each in schedules_of(config).values())


def cut_short(config: RunConfig) -> str | None:
    """A line that names the schedules which the run's end cuts off and the values that they stop at; None without."""
    total = config.train.total_images
    cut = [
        f"{name} (at {value_at(each, total, total):g} instead of {each.end:g}, after {_ends_at(each)} images)"
        for name, each in schedules_of(config).items()
        if _ends_at(each) > total
    ]
    if not cut:
        return None
    return (
        f"train.total_images={total} ends before these schedules do: {', '.join(cut)}; "
        "over_images: null lets a schedule end with the run"
    )


def _schedules(section: Options, prefix: str) -> Iterator[tuple[str, Schedule]]:
    for name, value in section:
        if isinstance(value, Schedule):
            yield prefix + name, value
        elif isinstance(value, Options):
            yield from _schedules(value, f"{prefix}{name}.")


def _ends_at(figure: Schedule) -> int:
    """After how many images it changes no more, the run's own length left aside."""
    moving = 0 if figure.over_images is None or figure.start == figure.end else figure.over_images
    return max(moving, figure.warmup_images)
