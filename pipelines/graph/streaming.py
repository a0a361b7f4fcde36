"""A supervised command whose output arrives line by line while it runs."""

import contextlib
import math
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.graph import supervisor

PROGRESS_EVERY_S = 10.0
LOOK_EVERY_S = 0.5
CHUNK_BYTES = 65536


class Command:
    """A command at work, and the lines of its output as they come.

    The command and its descendants are gone when it is closed, and also when
    the calling process is killed. A progress bar (a line redrawn
    with carriage returns) arrives as its last state, and every
    `PROGRESS_EVERY_S` while it moves.

    Attributes:
        deadline: on the clock of `time.monotonic`; who waits for a line beyond it gets a TimeoutError. It also ends the
            waiting for a command that says nothing.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        keep_open: Sequence[int] = (),
        inherit: Sequence[int] = (),
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.deadline = math.inf
        self._watch = watch
        self._process = supervisor.start(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, keep_open=keep_open, inherit=inherit
        )
        self._lines = _lines(self._chunks())

    def close(self) -> None:
        """End it, if it has not ended."""
        supervisor.stop(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __iter__(self) -> Iterator[str]:
        """Goes on where it was left."""
        return self._lines

    @property
    def exit_code(self) -> int:
        """Of a command whose lines have come to their end."""
        return self._process.returncode

    def _chunks(self) -> Iterator[bytes]:
        """What the process writes, as it comes, until it has ended."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        writing = True
        looked = -math.inf
        while writing or self._process.poll() is None:
            if time.monotonic() > self.deadline:
                raise TimeoutError
            if time.monotonic() - looked >= LOOK_EVERY_S:
                self._watch()
                looked = time.monotonic()
            if not writing:
                time.sleep(supervisor.POLL_S)
            elif select.select([output], [], [], LOOK_EVERY_S)[0]:
                chunk = os.read(output, CHUNK_BYTES)
                writing = bool(chunk)
                yield chunk


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    watch: Callable[[], None] = lambda: None,
) -> int:
    """Run a command, hand each line of its output to `on_line`, return its exit code.

    `watch` is called every `LOOK_EVERY_S`; what it raises ends the command, too.
    """
    with contextlib.closing(Command(command, cwd=cwd, env=env, watch=watch)) as at_work:
        for line in at_work:
            on_line(line)
        return at_work.exit_code


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    pending = b""
    progress_shown = time.monotonic()
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from map(_last_state, whole)
        if b"\r" in pending:
            pending = b"\r".join(pending.split(b"\r")[-2:])
            if time.monotonic() - progress_shown >= PROGRESS_EVERY_S:
                progress_shown = time.monotonic()
                yield _last_state(pending)
    if pending:
        yield _last_state(pending)


def _last_state(line: bytes) -> str:
    """What a terminal would show of a line that carriage returns redraw."""
    states = [state for state in line.split(b"\r") if state]
    return states[-1].decode(errors="replace").rstrip() if states else ""
