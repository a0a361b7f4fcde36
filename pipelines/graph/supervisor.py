"""A command that never outlives the one who started it.

`python -m pipelines.graph.supervisor [DESCRIPTOR…] -- CMD…` runs CMD, which
inherits the descriptors, in a session of its own and passes its output and
exit code through. When its standard input ends (the parent has died, by
whatever means) or a signal asks it to stop, it ends the command with its
descendants: SIGTERM first, SIGKILL after a time of grace.
What is left over when the command ends by itself goes the same way. On Linux
this holds for all descendants, on macOS for those that stay in the session.
Standard library only.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

GRACE_S = 20.0  # a training writes its checkpoint in it
POLL_S = 0.02
COMMAND_NOT_FOUND = 127
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: int | IO[bytes],
    keep_open: Sequence[int] = (),
    inherit: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command under supervision; closing the process's `stdin` ends it.

    `stdout` takes standard error too. The supervisor has a session of its own,
    so neither Ctrl-C in a terminal nor the killing of the caller's process
    group can take it away before its child. It holds the descriptors
    `keep_open` until the child is gone; the child has those of `inherit` only.
    """
    # Isolated and without site-packages: half the start-up time, and no variable can break it.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *map(str, inherit), "--", *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=[*keep_open, *inherit],
    )


def stop(process: subprocess.Popen[bytes]) -> int:
    """End a supervised command, wait until it is gone, return its exit code."""
    assert process.stdin is not None, "not started by start()"
    process.stdin.close()
    return process.wait()


@contextlib.contextmanager
def signals_unwind() -> Iterator[None]:
    """For the caller of start(): SIGTERM and SIGHUP leave through the `finally` blocks, with the exit code 128 + n."""

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def supervise(command: Sequence[str], *, inherit: Sequence[int] = (), grace_s: float = GRACE_S) -> int:
    """Run a command, which takes over the descriptors, until it ends, or until standard input or a signal ends it.

    Returns its exit code, 128 + n where signal n ended it.
    """
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *STOP_SIGNALS):
        signal.signal(number, lambda _number, _frame: None)
    _adopt_orphans()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=inherit)
    except OSError as error:
        print(f"{command[0]}: cannot be started ({error.strerror})", file=sys.stderr)  # noqa: T201
        return COMMAND_NOT_FOUND
    for descriptor in inherit:
        os.close(descriptor)
    while child.returncode is None and not _asked_to_stop(wake_reader):
        _reap(child)
    _end_family(child, grace_s)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none is lost (Linux).

    Without it they go to process 1, which in many containers never reaps the
    dead: they would look alive for ever.
    """
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) was refused")


def _asked_to_stop(wake_reader: int) -> bool:
    """Sleep until something happens; true for the end of standard input or a stop signal."""
    stdin = sys.stdin.fileno()
    ready, _, _ = select.select([stdin, wake_reader], [], [])
    if stdin in ready and not os.read(stdin, 4096):
        return True
    return wake_reader in ready and any(number in STOP_SIGNALS for number in os.read(wake_reader, 512))


def _end_family(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """End what is left of the child and its descendants."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        told: set[int] = set()
        deadline = time.monotonic() + grace_s
        _signal_group(child.pid, number)
        while _somebody_left(child) and time.monotonic() < deadline:
            if not _signal_group(child.pid, 0):
                for pid in _own_children() - told:  # left the session, then lost their parent
                    os.kill(pid, number)
                    told.add(pid)
            time.sleep(POLL_S)
    assert child.returncode is not None, "SIGKILL leaves nobody"


def _somebody_left(child: subprocess.Popen[bytes]) -> bool:
    return _reap(child) or _signal_group(child.pid, 0)


def _reap(child: subprocess.Popen[bytes]) -> bool:
    """Collect the dead, noting the child's exit code; false when no child of ours is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)


def _own_children() -> set[int]:
    """The processes whose parent we are, from /proc; empty where there is none."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        if int(parent) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def _signal_group(group: int, number: int) -> bool:
    """Send a signal (0: none, only look); false when nobody is left to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS: EPERM when only the unreaped are left
        return False
    return True


def main() -> int:
    """The command line: everything after the first `--` is the command."""
    separator = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    inherit, command = sys.argv[1:separator], sys.argv[separator + 1 :]
    if not command:
        usage = "usage: python -m pipelines.graph.supervisor [DESCRIPTOR ...] -- COMMAND [ARGUMENT ...]"
        print(usage, file=sys.stderr)  # noqa: T201
        return 2
    return supervise(command, inherit=[int(each) for each in inherit])


if __name__ == "__main__":
    sys.exit(main())
