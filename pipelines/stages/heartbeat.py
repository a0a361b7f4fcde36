"""A sign of life from work that says nothing by itself."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

EVERY_S = 10.0


class Heartbeat:
    """While the block runs, says every ten seconds that it does, unless something else was said meanwhile."""

    def __init__(self, say: Callable[[str], None], doing: str, *, every_s: float = EVERY_S) -> None:
        """`say` is called from another thread; `doing` is what the work is called until `note` says otherwise."""
        self._say, self._doing, self._every_s = say, doing, every_s
        self._since_s = self._told_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def note(self, doing: str | None = None) -> None:
        """Something was heard of the work; `doing` is what it does from now on."""
        self._since_s = self._told_s = time.monotonic()
        self._doing = doing or self._doing

    def _watch(self) -> None:
        while not self._ended.wait(max(0.0, self._told_s + self._every_s - time.monotonic())):
            now = time.monotonic()
            if now - self._told_s >= self._every_s:
                self._told_s = now
                self._say(f"{self._doing}: {now - self._since_s:.0f} s so far")
