"""What a stage tells of itself while it runs: how far it has come, as a line, read back by whoever hears its output."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

_LINE = re.compile(
    r"(?P<stage>[^:\s]+): (?P<seen>\d+)(?: of (?P<total>\d+))? images(?:, (?P<rate>\d+) images/s)?"
    r"(?:, \d+ s left)?(?:; (?P<figures>.+))?"
)
_ALARM = re.compile(r"[^:\s]+: (?:alarm at \d+ images shown|ALARM): .+")


@dataclass(frozen=True)
class Reached:
    """How far a stage is.

    Attributes:
        stage: its name.
        seen_images: done.
        total_images: to do; None while nobody knows.
        images_per_s: at present, 0 while unknown.
        figures: the newest, by name, such as `domain/fid`.
    """

    stage: str
    seen_images: int
    total_images: int | None
    images_per_s: float
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def left_s(self) -> float | None:
        """Seconds, at the present pace; None where that is not known."""
        if self.total_images is None or not self.images_per_s:
            return None
        return (self.total_images - self.seen_images) / self.images_per_s

    def __str__(self) -> str:
        total = "" if self.total_images is None else f" of {self.total_images}"
        rate = f", {self.images_per_s:.0f} images/s" if self.images_per_s else ""
        left = "" if self.left_s is None else f", {self.left_s:.0f} s left"
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        return f"{self.stage}: {self.seen_images}{total} images{rate}{left}{figures and '; '}{figures}"

    @classmethod
    def read(cls, line: str) -> Self | None:
        """What such a line says; None for another line."""
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        pairs = (pair.rpartition(" ") for pair in (found["figures"] or "").split(", ") if pair)
        return cls(
            found["stage"],
            int(found["seen"]),
            None if found["total"] is None else int(found["total"]),
            float(found["rate"] or 0),
            {name: float(value) for name, _, value in pairs},
        )


def is_alarm(line: str) -> bool:
    """Whether a stage says that something is not healthy."""
    return _ALARM.fullmatch(line) is not None
