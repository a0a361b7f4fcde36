"""How long a training takes, over all its goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ganlib.events import Event, Scalars
from ganlib.training.checkpoint import CheckpointStore


@dataclass(frozen=True)
class SpentTime:
    """The time of this go, on top of those before it; kept at each log point, for a go that is killed."""

    checkpoints: CheckpointStore
    before_s: float
    started_s: float

    def seconds(self) -> float:
        """So far."""
        return self.before_s + time.monotonic() - self.started_s

    def sink(self, event: Event) -> None:
        """An `EventSink`."""
        if isinstance(event, Scalars):
            self.checkpoints.keep_spent(self.seconds())


@contextmanager
def spent_time(checkpoints: CheckpointStore) -> Iterator[SpentTime]:
    """Count the time within, and keep it however this go ends."""
    spent = SpentTime(checkpoints, checkpoints.spent_s(), time.monotonic())
    try:
        yield spent
    finally:
        checkpoints.keep_spent(spent.seconds())
