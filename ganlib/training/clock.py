"""The clock of images shown: what falls due, and how fast it runs."""

import time
from dataclasses import dataclass

from ganlib.events import EventSink, Progress

PROGRESS_EVERY_S = 0.5
RATE_WEIGHT = 0.2  # of the newest interval in the smoothed rate


@dataclass(frozen=True)
class Span:
    """The images of one iteration on the clock: after `before`, up to `after`."""

    before: int
    after: int

    def passes_multiple_of(self, every_images: int) -> bool:
        """Whether a multiple of `every_images` lies in the span."""
        return self.after // every_images > self.before // every_images


class Clock:
    """Images per second, and progress events at a readable pace."""

    def __init__(self, total_images: int, seen_images: int, on_event: EventSink) -> None:
        self.total_images = total_images
        self.on_event = on_event
        self.images_per_s = 0.0
        self._last = (time.monotonic(), seen_images)

    def tick(self, seen_images: int) -> None:
        """Note that so many images have been shown."""
        now, (then, seen_then) = time.monotonic(), self._last
        if now - then >= PROGRESS_EVERY_S or seen_images >= self.total_images:
            rate = (seen_images - seen_then) / max(now - then, 1e-9)
            self.images_per_s += (rate - self.images_per_s) * (RATE_WEIGHT if self.images_per_s else 1.0)
            self._last = (now, seen_images)
            self.on_event(Progress(seen_images, self.total_images, self.images_per_s))

    def restart(self, seen_images: int) -> None:
        """Go on from another moment."""
        self._last = (time.monotonic(), seen_images)
