"""A limit on the time that a decoder may take."""

import signal
import sys
import threading
import time
from functools import cache
from types import FrameType, TracebackType

# Processor time after which a decoder is taken for lost, in wall-clock limits.
_HARD_FACTOR = 2.0
_SOONEST_S = 1e-6


class DeadlinePassed(BaseException):
    """The time is up; no `Exception`, so that no decoder catches it on its way out."""


class Deadline:
    """Within it, `DeadlinePassed` is raised once a time has passed.

    Python raises only between its own instructions. For compiled code that
    does not return, `hard` lets the system end the process, without a word,
    once it has used twice as much processor time: only for worker processes
    whose end is noticed. Outside of a main thread, and on Windows, nothing
    happens, as signals do not arrive there. An alarm set before goes on
    afterwards, though it may be late; in a process that may be ended all
    alarms are taken over.

    Args:
        seconds: above 0, by the clock on the wall.
        hard: whether the process may be ended.
    """

    __slots__ = ("_entered_s", "_handler", "_hard", "_others", "_seconds", "_set")

    def __init__(self, seconds: float, *, hard: bool) -> None:
        assert seconds > 0
        self._seconds = seconds
        self._hard = hard
        self._set = False

    def __enter__(self) -> None:
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return
        if self._hard:
            _take_over_alarms()
        else:
            self._handler = signal.signal(signal.SIGALRM, _strike)
        self._set = True
        # It strikes again, should the first have been lost in a destructor.
        self._others = signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)
        self._entered_s = time.monotonic() if self._others[0] else 0.0
        if self._hard:
            signal.setitimer(signal.ITIMER_PROF, self._seconds * _HARD_FACTOR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._set:
            return
        try:
            self._restore()
        except DeadlinePassed:
            # It struck on the threshold: the work was done in time, or has raised by itself.
            self._restore()

    def _restore(self) -> None:
        if sys.platform == "win32":
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._hard:
            signal.setitimer(signal.ITIMER_PROF, 0)
            return
        signal.signal(signal.SIGALRM, signal.SIG_DFL if self._handler is None else self._handler)
        remaining, interval = self._others
        if remaining:
            passed = time.monotonic() - self._entered_s
            signal.setitimer(signal.ITIMER_REAL, max(_SOONEST_S, remaining - passed), interval)


@cache
def _take_over_alarms() -> None:
    """Once a process, as it takes a while."""
    signal.signal(signal.SIGALRM, _strike)


def _strike(number: int, frame: FrameType | None) -> None:
    raise DeadlinePassed
