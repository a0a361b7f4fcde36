"""How far work over many images has come, told now and then."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

# Short work says nothing; long work does not fill the screen.
FIRST_AFTER_S, EVERY_S = 5.0, 10.0

Batch = TypeVar("Batch", bound=Sized)


def counted(
    batches: Iterable[Batch],
    total: int,
    what: str,
    notify: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Batch]:
    """The same batches; `notify` hears after 5 seconds, then every 10, how many of the images are done.

    Args:
        batches: whose lengths add up to `total`.
        total: how many images there are.
        what: is done with them, such as `inception features`.
        notify: gets a sentence.
        clock: of seconds.
    """
    began = clock()
    due, done = began + FIRST_AFTER_S, 0
    for batch in batches:
        yield batch
        done += len(batch)  # the batch is done when the next is asked for
        now = clock()
        if now >= due and done < total:
            due = now + EVERY_S
            rate = done / (now - began)
            notify(f"{what}: {done} of {total} images, {rate:.0f} images/s, {(total - done) / rate:.0f} s left")


def told_time(seconds: float) -> str:
    """Such as `40 s`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
