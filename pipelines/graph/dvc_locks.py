"""DVC's own locks, which end a command at once instead of letting it wait: who holds them, and until when.

One lock is the repository's, held by commands such as `dvc push`; others are those of single files, held by a
`dvc repro` for as long as its stage runs.
"""

import json
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from dvc.repo import Repo

POLL_S = 0.5
_BUSY = re.compile(r"(?:ERROR: .*)?'.*' is busy, it is being blocked by:")
_BLOCKER = re.compile(r"\s*\(PID (\d+)\): (.*)")

OnWait = Callable[[str], None]


class StillBusy(Exception):
    """Another DVC process did not end in time; the message names it."""


def blocker(lines: Iterable[str]) -> tuple[int, str] | None:
    """The process, with its command, that DVC says holds the files of a stage; None where it says nothing like it."""
    busy = False
    for line in lines:
        if busy and (found := _BLOCKER.match(line)):
            return int(found[1]), found[2]
        busy = bool(_BUSY.search(line))
    return None


def wait_for_process(pid: int, command: str, *, on_wait: OnWait, deadline: float) -> None:
    """Return when the process has ended.

    Args:
        pid: the process.
        command: shown to people.
        on_wait: hears whom we wait for.
        deadline: on the clock of `time.monotonic`.

    Raises:
        StillBusy: it has not, by the deadline.
    """
    on_wait(f"waiting for process {pid} ({command}) to finish: it holds files of this pipeline")
    while psutil.pid_exists(pid):
        if time.monotonic() > deadline:
            raise StillBusy(f"process {pid} ({command}) holds files of this pipeline and did not finish in time")
        time.sleep(POLL_S)


def wait_for_repository(repo: "Repo", *, on_wait: OnWait, deadline: float) -> None:
    """Return when no other DVC command holds the repository's lock; what killed ones have left is cleared.

    Arguments and errors as `wait_for_process`.
    """
    from dvc.lock import LockError

    told = False
    while True:
        try:
            with repo.lock:  # tries for three seconds by itself
                _clear_record(repo)
                return
        except LockError:
            holder = _holder(Path(repo.lock.lockfile))
        if not told:
            on_wait(f"waiting for {holder} to finish: it holds DVC's lock ({repo.lock.lockfile})")
            told = True
        if time.monotonic() > deadline:
            raise StillBusy(f"{holder} holds DVC's lock ({repo.lock.lockfile}) and did not finish in time")


def _clear_record(repo: "Repo") -> None:
    """Take what killed processes have left out of DVC's record of who holds which files.

    DVC overwrites it in place, and with half of one no command runs any more. It removes dead holders only from files
    that it wants itself; the number of one may belong to another process by then.
    """
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    folder = Path(str(repo.tmp_dir))
    hardlink = bool(repo.config["core"].get("hardlink_lock", False))
    with make_lock(str(folder / RWLOCK_LOCK), tmp_dir=str(folder), hardlink_lock=hardlink):  # nobody is writing it now
        record = folder / RWLOCK_FILE
        try:
            held = json.loads(record.read_bytes())
            alive = _held_by_the_living(held)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):  # not what DVC writes
            record.unlink()
            return
        if alive != held:
            aside = record.with_name(f"{RWLOCK_FILE}.partial")
            aside.write_text(json.dumps(alive), encoding="utf-8")
            aside.replace(record)


def _held_by_the_living(held: dict[str, Any]) -> dict[str, Any]:
    """One process writes a file, several may read it."""
    writers, readers = held.get("write", {}), held.get("read", {})
    reading = {path: [each for each in infos if psutil.pid_exists(each["pid"])] for path, infos in readers.items()}
    return {
        "write": {path: info for path, info in writers.items() if psutil.pid_exists(info["pid"])},
        "read": {path: infos for path, infos in reading.items() if infos},
    }


def _holder(lock_file: Path) -> str:
    """DVC's lock file holds the process's number."""
    try:
        process = psutil.Process(int(lock_file.read_text(encoding="utf-8").strip()))
        return f"process {process.pid} ({' '.join(process.cmdline())})"
    except (OSError, ValueError, psutil.Error):
        return "another DVC command"
