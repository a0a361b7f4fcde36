"""A write-ahead journal: what is to be tracked goes to a file at once and to the store when it answers.

One folder per journal, `<time_ns>-<pid>/`, with `ops.jsonl` (one JSON object a line, the first being
`open`), the pictures and files it names, and `delivered.json`: how far the delivery got. The lock file
beside the folder is held for as long as its process lives, so whoever can take it may deliver the rest.
A journal that cannot be read is moved aside, to `<time_ns>-<pid>.damaged/`, and stays there.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

Op = dict[str, Any]
MAX_METRICS = 1000
_OPS = "ops.jsonl"
_CURSOR = "delivered.json"
_DAMAGED = ".damaged"
_log = logging.getLogger(__name__)


class Unreachable(Exception):
    """The store does not answer, or takes nothing at present: keep everything and come back later."""


class Undeliverable(Unreachable):
    """The store answers but cannot open this journal's run; other journals may fare better."""


class Refused(Exception):
    """The store answers and will never take this entry."""


class Store(Protocol):
    """Where entries are delivered to. Both methods raise `Unreachable` or `Refused`."""

    @property
    def name(self) -> str:
        """The store's address without secrets; a journal is delivered to the store it was written for."""
        ...

    def open_run(self, op: Op) -> str:
        """Find or create the run of an `open` entry; its id."""
        ...

    def write(self, run_id: str, ops: Sequence[Op], folder: Path) -> None:
        """Deliver one entry, or several that are all metrics."""
        ...


@dataclass(frozen=True)
class Patience:
    """How long the courier waits, in seconds: between deliveries, after a failure, and at the end."""

    gather_s: float = 0.5
    first_pause_s: float = 10.0
    longest_pause_s: float = 60.0
    close_s: float = 20.0


@dataclass
class _Cursor:
    """How many bytes of `ops.jsonl` are delivered, and the run they went to."""

    offset: int = 0
    run_id: str = ""

    @classmethod
    def load(cls, folder: Path) -> "_Cursor":
        try:
            cursor = cls(**json.loads((folder / _CURSOR).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        # A place that is not in the journal would pass for "all is delivered", no run for "all is refused".
        if not 0 < cursor.offset <= (folder / _OPS).stat().st_size or not isinstance(cursor.run_id, str):
            raise ValueError(f"{_CURSOR}: offset {cursor.offset} and run {cursor.run_id!r} do not fit {_OPS}")
        return cursor

    def save(self, folder: Path) -> None:
        aside = folder / f"{_CURSOR}.new"
        aside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        aside.replace(folder / _CURSOR)


def _lock(folder: Path) -> FileLock:
    # Not thread-local: a journal is opened by one thread and given up by its courier.
    return FileLock(folder.with_suffix(".lock"), thread_local=False)


def _read(folder: Path, offset: int = 0) -> Iterator[tuple[Op, int]]:
    """Entries from `offset` on, each with the offset of its end. A torn last line is not there yet."""
    with (folder / _OPS).open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset


def _groups(folder: Path, offset: int) -> Iterator[tuple[list[Op], int]]:
    """Neighbouring metrics together, up to `MAX_METRICS` values; everything else alone."""
    group: list[Op] = []
    size, group_end = 0, offset
    for op, end in _read(folder, offset):
        values = len(op["values"]) if op["op"] == "metrics" else MAX_METRICS
        if group and size + values > MAX_METRICS:
            yield group, group_end
            group, size = [], 0
        group.append(op)
        size, group_end = size + values, end
    if group:
        yield group, group_end


def deliver(folder: Path, store: Store) -> None:
    """Deliver what a journal holds beyond its cursor, in order.

    Raises:
        Unreachable: the store went away, or cannot open the journal's run (`Undeliverable`); the rest is kept.
        ValueError, KeyError, TypeError, AttributeError: the journal is damaged.
    """
    cursor = _Cursor.load(folder)
    for group, end in _groups(folder, cursor.offset):
        if group[0]["op"] == "open":
            try:
                cursor.run_id = store.open_run(group[0])
            except Refused as refusal:
                raise Undeliverable(f"{folder.name}: cannot open its run: {refusal}") from None
        else:
            _write(store, cursor.run_id, group, folder)
        cursor.offset = end
        cursor.save(folder)
        for op in group:
            if "file" in op:
                _remove(folder / op["file"])


def _write(store: Store, run_id: str, group: list[Op], folder: Path) -> None:
    try:
        store.write(run_id, group, folder)
    except Refused as refusal:
        if len(group) > 1:
            for op in group:
                _write(store, run_id, [op], folder)
        else:
            _log.warning("tracking: dropped one %s entry, the store refuses it: %s", group[0]["op"], refusal)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _discard(folder: Path) -> None:
    # The entries go first: without them a half-removed journal cannot be delivered a second time.
    (folder / _OPS).unlink(missing_ok=True)
    shutil.rmtree(folder)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def deliver_orphans(root: Path, store: Store) -> None:
    """Deliver the journals of dead processes to the store they were written for, oldest first.

    One that is damaged is moved aside; one that cannot be delivered stays. Neither keeps the others waiting.

    Raises:
        Unreachable: the store does not answer.
    """
    for_others: Counter[str] = Counter()
    for folder in sorted(path for path in root.glob("*-*") if path.is_dir() and path.suffix != _DAMAGED):
        try:
            with _lock(folder).acquire(timeout=0):
                try:
                    if (other := _deliver_orphan(folder, store)) is not None:
                        for_others[other] += 1
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    _set_aside(folder, error)
        except Timeout:
            continue  # its process lives and delivers by itself
        except Undeliverable as error:
            _log.warning("tracking: %s; repair the store, or delete %s to discard what was logged", error, folder)
        except OSError as error:
            _log.warning("tracking: %s cannot be delivered: %s", folder, error)
    for name, count in for_others.items():
        _log.warning(
            "tracking: %s holds the logs of %d processes for another store, %s; the current store is %s",
            root,
            count,
            name,
            store.name,
        )


@dataclass(frozen=True)
class LeftOver:
    """A journal in the spool: the store it was written for, None where it is damaged, and the lock of its process."""

    folder: Path
    store: str | None
    lock: Path


def left_over(root: Path) -> Iterator[LeftOver]:
    """The journals in the spool, oldest first; nothing is written."""
    for folder in sorted(path for path in root.glob("*-*") if path.is_dir()):
        lock = folder.with_suffix(".lock")
        try:
            opening = next(_read(folder), None) if folder.suffix != _DAMAGED else ({}, 0)
            if opening is not None:
                yield LeftOver(folder, opening[0].get("store"), lock)
        except FileNotFoundError:
            continue  # delivered meanwhile, or of a process that died before its first entry
        except ValueError:
            yield LeftOver(folder, None, lock)


def _set_aside(folder: Path, error: Exception) -> None:
    aside = folder.with_suffix(_DAMAGED)
    folder.rename(aside)
    folder.with_suffix(".lock").unlink(missing_ok=True)
    why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    _log.warning("tracking: %s is damaged (%s); it was not delivered and is now %s", folder, why, aside.name)


def _deliver_orphan(folder: Path, store: Store) -> str | None:
    """Deliver to this store; or the name of the other store that it is meant for."""
    if not folder.is_dir():
        return None  # another process was quicker
    entries = list(_read(folder)) if (folder / _OPS).exists() else []
    if not entries:
        _discard(folder)
        return None
    opening, (last, end) = entries[0][0], entries[-1]
    if opening["store"] != store.name:
        return str(opening["store"])
    os.truncate(folder / _OPS, end)
    if opening["by"] == "run_key" and last["op"] != "finish":
        with closing(_Writer(folder)) as writer:
            writer.line({"op": "finish", "status": "KILLED", "time_ms": last["time_ms"]})
    deliver(folder, store)
    _discard(folder)
    return None


class _Writer:
    """Appends lines to `ops.jsonl`, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / _OPS).open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()

    def line(self, op: Op) -> None:
        data = (json.dumps(op) + "\n").encode()
        before = self._file.tell()
        try:
            if self._file.write(data) != len(data):
                raise OSError("the disk is full")
        except OSError:
            self._file.truncate(before)
            raise


class Journal:
    """The journal of one run in this process, with a courier that delivers it in the background.

    Args:
        root: the spool folder; made when missing.
        store: where the entries go. It is used from the courier's thread alone.
        opening: the first entry: how to find or create the run.
        patience: how long the courier waits.
    """

    def __init__(self, root: Path, store: Store, opening: Op, patience: Patience) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.folder = root.absolute() / f"{time.time_ns()}-{os.getpid()}"
        self._store, self._patience = store, patience
        self._alone = _lock(self.folder)
        self._alone.acquire()  # before the folder is there, so that nobody takes it for an orphan
        self.folder.mkdir()
        self._writer = _Writer(self.folder)
        self._writing = threading.Lock()
        self._files = 0
        self._wake, self._closing, self._cut_off = threading.Event(), threading.Event(), threading.Event()
        self.append({"op": "open", "store": store.name, **opening})
        self._courier = threading.Thread(target=self._run, name="tracking-courier", daemon=True)
        self._courier.start()

    def append(self, op: Op, payload: Callable[[Path], None] | None = None) -> None:
        """Write one entry and return; `payload` writes the file or folder that belongs to it.

        Whatever becomes of the store or the courier, this works until `close`; an entry
        for which the disk has no room is lost with a warning.
        """
        op = {**op, "time_ms": time.time_ns() // 1_000_000}
        with self._writing:
            assert not self._closing.is_set(), "the journal is closed"
            try:
                if payload is not None:
                    self._files += 1
                    op["file"] = str(self._files)
                    payload(self.folder / op["file"])
                self._writer.line(op)
            except OSError as error:
                _log.warning("tracking: lost one %s entry, it cannot be written: %s", op["op"], error)
        self._wake.set()

    def close(self) -> bool:
        """Deliver what is left if the store answers; otherwise leave it at once. True when all is delivered."""
        with self._writing:
            self._closing.set()
        self._wake.set()
        deadline = time.monotonic() + self._patience.close_s
        while self._courier.is_alive() and not self._cut_off.is_set() and time.monotonic() < deadline:
            self._courier.join(0.02)
        self._courier.join(0.1)  # one that only waits for its next attempt ends now
        delivered = not self.folder.exists()
        if not delivered:
            _log.warning(
                "tracking: %s is kept; it will be delivered to %s at the next contact", self.folder, self._store.name
            )
        return delivered

    def _run(self) -> None:
        try:
            self._deliver_until_closed()
        except Exception as error:  # a fault of ours or of a library: the work that is tracked must not suffer
            why = " ".join(f"{type(error).__name__}: {error}".split())
            _log.warning("tracking: the delivery failed (%s); entries are kept in %s", why, self.folder)
            self._closing.wait()
        finally:
            self._writer.close()
            self._alone.release()

    def _deliver_until_closed(self) -> None:
        pause_s, greeted, reported = self._patience.first_pause_s, False, False
        while True:
            self._wake.clear()
            last_time = self._closing.is_set()  # read before the delivery: nothing is written after it
            try:
                if not greeted:
                    deliver_orphans(self.folder.parent, self._store)
                    greeted = True
                deliver(self.folder, self._store)
            except Unreachable as error:
                self._cut_off.set()
                if not reported:
                    _log.warning("tracking: %s; entries are kept in %s until it responds", error, self.folder)
                    reported = True
                if self._closing.wait(pause_s):
                    return
                pause_s = min(2 * pause_s, self._patience.longest_pause_s)
                continue
            self._cut_off.clear()
            pause_s, reported = self._patience.first_pause_s, False
            if last_time:
                _discard(self.folder)
                return
            self._wake.wait()
            self._closing.wait(self._patience.gather_s)
