"""One at a time: file locks that say who holds them and survive nobody."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines import paths

POLL_S = 0.25
_LONGEST = 4096  # of what a holder says of itself, a path in it


@dataclass(frozen=True)
class Lock:
    """Proof that a lock is held.

    The kernel releases it when the last process that has `descriptor` open is
    gone: the holder, and any supervisor that was told to keep it open.
    """

    descriptor: int


class OneWaits(Exception):
    """The lock is held, and somebody waits for it already."""


@contextlib.contextmanager
def hold(path: Path, *, on_wait: Callable[[str], None], doing: str = "") -> Iterator[Lock]:
    """Hold a lock file, waiting as long as it takes; `on_wait` hears once whom for, and what that one is `doing`."""
    with _opened(path) as descriptor:
        if not _try(descriptor):
            on_wait(f"waiting for {_named(descriptor)} to finish ({path})")
            while not _try(descriptor):
                time.sleep(POLL_S)
        os.ftruncate(descriptor, 0)
        since = f"(since {time.strftime('%Y-%m-%d %H:%M:%S')})"
        os.pwrite(descriptor, " ".join(filter(None, ("process", str(os.getpid()), doing, since))).encode(), 0)
        yield Lock(descriptor)


@contextlib.contextmanager
def hold_pipeline(project: Path, *, on_wait: Callable[[str], None], one_waits: bool = False) -> Iterator[Lock]:
    """The lock of whoever drives a project's stages.

    Args:
        project: its folder.
        on_wait: hears whom we wait for.
        one_waits: do not wait beside another one that was told the same.

    Raises:
        OneWaits: it is held and one waits.
    """
    with contextlib.ExitStack() as queue:
        if one_waits:
            place = queue.enter_context(_opened(project / paths.WAITING_LOCK))
            if not _try(place):
                raise OneWaits
        with hold(project / paths.PIPELINE_LOCK, on_wait=on_wait) as lock:
            queue.close()  # the place is free for the next one
            yield lock


def holder(path: Path) -> str | None:
    """Who holds a lock file, in words, ours or that of another tool; None where nobody does. Nothing is written."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(descriptor)
    finally:
        os.close(descriptor)
    return None


def _named(descriptor: int) -> str:
    told = os.pread(descriptor, _LONGEST, 0).decode(errors="replace").strip("\0\n ")
    return f"process {told}" if told.isdecimal() else told or "another process"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # less the umask, as all files
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
