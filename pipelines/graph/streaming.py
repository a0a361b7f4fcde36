"""A supervised command whose output arrives line by line while it runs."""

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


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    timeout_s: float | None = None,
    keep_open: Sequence[int] = (),
    watch: Callable[[], None] = lambda: None,
) -> int:
    """Run a command, hand each line of its output to `on_line`, return its exit code.

    The command and its descendants are gone when this returns or raises, and
    also when the calling process is killed. A progress bar (a line redrawn
    with carriage returns) arrives as its last state, and every
    `PROGRESS_EVERY_S` while it moves. The clock of `timeout_s` is our own: it
    also ends a command that says nothing. `watch` is called every `LOOK_EVERY_S`; what it raises ends the command, too.

    Raises:
        TimeoutError: the command took longer than `timeout_s` and was ended.
    """
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    process = supervisor.start(command, cwd=cwd, env=env, stdout=subprocess.PIPE, keep_open=keep_open)
    try:
        for line in _lines(_chunks(process, deadline, watch)):
            on_line(line)
        return process.returncode
    finally:
        supervisor.stop(process)
        assert process.stdout is not None
        process.stdout.close()


def _chunks(process: subprocess.Popen[bytes], deadline: float, watch: Callable[[], None]) -> Iterator[bytes]:
    """What the process writes, as it comes, until it has ended."""
    assert process.stdout is not None
    output = process.stdout.fileno()
    writing = True
    looked = -math.inf
    while writing or process.poll() is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        if time.monotonic() - looked >= LOOK_EVERY_S:
            watch()
            looked = time.monotonic()
        if not writing:
            time.sleep(supervisor.POLL_S)
        elif select.select([output], [], [], LOOK_EVERY_S)[0]:
            chunk = os.read(output, CHUNK_BYTES)
            writing = bool(chunk)
            yield chunk


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
