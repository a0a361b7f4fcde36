import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipelines.tracking.journal import (
    Journal,
    Op,
    Patience,
    Refused,
    Undeliverable,
    Unreachable,
    deliver,
    deliver_orphans,
)

QUICK = Patience(gather_s=0.01, first_pause_s=0.05, longest_pause_s=0.1, close_s=10)
OPENING: Op = {"op": "open", "by": "run_key", "key": "k"}


class FileStore:
    """A store that keeps entries as lines of a file, and can be away, hung or picky."""

    def __init__(self, path: Path, name: str = "file-store") -> None:
        self.path = path
        self.name = name
        self.away = False
        self.hung = threading.Event()
        self.hung.set()
        self.requests: list[int] = []

    def open_run(self, op: Op) -> str:
        self._contact()
        if op.get("refused"):
            raise Refused("no such experiment")
        self._keep([op])
        return f"run-of-{op['key']}"

    def write(self, run_id: str, ops: Sequence[Op], folder: Path) -> None:
        self._contact()
        if any(op.get("bad") for op in ops):
            raise Refused("bad value")
        self.requests.append(len(ops))
        kept = []
        for op in ops:
            text = (folder / op["file"]).read_text() if "file" in op else None
            kept.append({**op, "run": run_id, "text": text})
        self._keep(kept)

    def _contact(self) -> None:
        self.hung.wait()
        if self.away:
            raise Unreachable("away")

    def _keep(self, ops: Sequence[Op]) -> None:
        with self.path.open("a") as file:
            file.writelines(json.dumps(op) + "\n" for op in ops)

    @property
    def kept(self) -> list[Op]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def steps(self) -> list[int]:
        return [op["step"] for op in self.kept if op["op"] == "metrics"]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "kept.jsonl")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def metrics(step: int, count: int = 1) -> Op:
    return {"op": "metrics", "values": {f"m{i}": 0.5 for i in range(count)}, "step": step}


def test_everything_arrives_in_order_and_the_folder_goes(spool: Path, store: FileStore) -> None:
    journal = Journal(spool, store, OPENING, QUICK)
    for step in range(200):
        journal.append(metrics(step))
    journal.append({"op": "artifact"}, lambda path: path.write_text("hello"))
    assert journal.close()
    assert store.steps() == list(range(200))
    assert [op["op"] for op in store.kept][::201] == ["open", "artifact"]
    assert store.kept[-1]["text"] == "hello"
    assert {op["run"] for op in store.kept[1:]} == {"run-of-k"}
    assert list(spool.iterdir()) == []


def test_metrics_are_batched_up_to_the_limit(spool: Path, store: FileStore) -> None:
    store.hung.clear()
    journal = Journal(spool, store, OPENING, QUICK)
    for step in range(25):
        journal.append(metrics(step, count=100))
    store.hung.set()
    journal.close()
    assert max(store.requests) == 10
    assert sum(store.requests) == 25


def test_store_away_delays_nothing_and_gets_all_when_back(spool: Path, store: FileStore) -> None:
    store.away = True
    journal = Journal(spool, store, OPENING, QUICK)
    started = time.monotonic()
    for step in range(500):
        journal.append(metrics(step))
    assert time.monotonic() - started < 1
    time.sleep(0.2)
    assert store.steps() == []
    store.away = False
    for step in range(500, 510):
        journal.append(metrics(step))
    deadline = time.monotonic() + 10
    while len(store.steps()) < 510 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert journal.close()
    assert store.steps() == list(range(510))


def test_closing_is_immediate_while_the_store_is_away(
    spool: Path, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.away = True
    journal = Journal(spool, store, OPENING, Patience(gather_s=0.01, first_pause_s=60))
    journal.append(metrics(1))
    time.sleep(0.2)
    started = time.monotonic()
    assert not journal.close()
    assert time.monotonic() - started < 1
    assert len(caplog.records) == 2  # once when it went away, once at the end
    store.away = False
    following = Journal(spool, store, {**OPENING, "key": "later"}, QUICK)
    assert following.close()
    assert [op["op"] for op in store.kept] == ["open", "metrics", "finish", "open"]
    assert store.kept[-1]["key"] == "later"
    assert list(spool.iterdir()) == []


def test_hung_store_delays_neither_logging_nor_the_end_beyond_the_deadline(spool: Path, store: FileStore) -> None:
    store.hung.clear()
    journal = Journal(spool, store, OPENING, Patience(gather_s=0.01, close_s=0.3))
    started = time.monotonic()
    for step in range(100):
        journal.append(metrics(step))
    assert time.monotonic() - started < 0.5
    assert not journal.close()
    assert time.monotonic() - started < 1.5
    store.hung.set()
    journal._courier.join(5)
    assert store.steps() == list(range(100))


def test_a_refused_entry_is_dropped_alone_and_reported(
    spool: Path, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.hung.clear()
    journal = Journal(spool, store, OPENING, QUICK)
    for step in range(10):
        journal.append({**metrics(step), "bad": step == 4})
    store.hung.set()
    assert journal.close()
    assert store.steps() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [record.message for record in caplog.records] == [
        "tracking: dropped one metrics entry, the store refuses it: bad value"
    ]


def test_a_run_that_cannot_be_opened_keeps_its_journal_and_lets_others_pass(spool: Path, store: FileStore) -> None:
    stuck = Journal(spool, store, {**OPENING, "refused": True}, QUICK)
    stuck.append(metrics(1))
    time.sleep(0.1)
    assert not stuck.close()
    assert Journal(spool, store, OPENING, QUICK).close()
    assert [op["key"] for op in store.kept] == ["k"]
    with pytest.raises(Undeliverable, match="no such experiment"):
        deliver(stuck.folder, store)


def test_a_journal_waits_for_its_own_store(spool: Path, store: FileStore, tmp_path: Path) -> None:
    store.away = True
    journal = Journal(spool, store, OPENING, QUICK)
    journal.append(metrics(7))
    time.sleep(0.1)
    journal.close()
    other = FileStore(tmp_path / "other.jsonl", name="other-store")
    deliver_orphans(spool, other)
    assert other.kept == []
    store.away = False
    deliver_orphans(spool, store)
    assert store.steps() == [7]


def test_stopped_between_delivery_and_bookkeeping_repeats_one_group_at_most(spool: Path, store: FileStore) -> None:
    store.away = True
    journal = Journal(spool, store, OPENING, QUICK)
    for step in range(3):
        journal.append(metrics(step))
        journal.append({"op": "tags", "values": {}})
    time.sleep(0.1)
    journal.close()
    store.away = False

    class DiesAfter(FileStore):
        def write(self, run_id: str, ops: Sequence[Op], folder: Path) -> None:
            super().write(run_id, ops, folder)
            if len(self.kept) == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver_orphans(spool, DiesAfter(store.path))
    deliver_orphans(spool, store)
    assert [op["op"] for op in store.kept] == [
        "open", "metrics", "tags", "metrics", "metrics", "tags", "metrics", "tags", "finish",
    ]  # fmt: skip


CHILD = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from test_journal import OPENING, FileStore, QUICK, metrics
    from pipelines.tracking.journal import Journal
    store = FileStore(Path({kept!r}))
    store.away = {away}
    journal = Journal(Path({spool!r}), store, OPENING, QUICK)
    for step in range(100):
        journal.append(metrics(step))
    print("logged", flush=True)
    time.sleep(60)
"""


def start_child(store: FileStore, spool: Path, *, away: bool) -> subprocess.Popen[str]:
    code = textwrap.dedent(CHILD).format(
        tests=str(Path(__file__).parent), kept=str(store.path), spool=str(spool), away=away
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "logged\n"
    return child


def test_killed_process_is_delivered_at_the_next_contact_by_one_of_many(spool: Path, store: FileStore) -> None:
    child = start_child(store, spool, away=True)
    deliver_orphans(spool, store)
    assert store.kept == []  # it lives: its journal is its own
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (folder,) = (path for path in spool.iterdir() if path.is_dir())
    with (folder / "ops.jsonl").open("a") as file:
        file.write('{"op": "metrics", "values": {"torn')
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=deliver_orphans, args=(spool, store)) for _ in range(4)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert store.steps() == list(range(100))
    assert store.kept[-1]["op"] == "finish"
    assert store.kept[-1]["status"] == "KILLED"
    assert not any(path.is_dir() for path in spool.iterdir())


def test_full_disk_loses_the_entry_not_the_run(spool: Path, store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(spool, store, OPENING, QUICK)

    def no_room(path: Path) -> None:
        raise OSError(28, "No space left on device")

    journal.append({"op": "artifact"}, no_room)
    journal.append(metrics(1))
    assert journal.close()
    assert [op["op"] for op in store.kept] == ["open", "metrics"]
    assert "No space left" in caplog.text


def leave_orphan(spool: Path, store: FileStore) -> Path:
    """A journal with three entries that were not delivered, its process gone."""
    store.away = True
    journal = Journal(spool, store, OPENING, QUICK)
    for step in range(2):
        journal.append(metrics(step))
        journal.append({"op": "tags", "values": {}})
    time.sleep(0.1)
    journal.close()
    store.away = False
    return journal.folder


def spoil_line(number: int, text: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        lines = (folder / "ops.jsonl").read_text().splitlines(keepends=True)
        lines[number] = text + "\n"
        (folder / "ops.jsonl").write_text("".join(lines))

    return spoil


def spoil_cursor(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "delivered.json").write_text(text)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_line(2, "\0" * 40),
        spoil_line(0, "garbage"),
        spoil_line(0, "[]"),
        spoil_line(0, '{"op": "open", "time_ms": 1}'),
        spoil_line(0, '{"op": "open", "time_ms": 1, "store": "file-store", "by": "run_key"}'),
        spoil_line(1, '{"op": "metrics", "time_ms": 1}'),
        spoil_line(1, "7"),
        spoil_cursor(""),
        spoil_cursor("[1]"),
        spoil_cursor('{"offset": 7, "run_id": "run-of-k"}'),
        spoil_cursor('{"offset": "x", "run_id": "run-of-k"}'),
        spoil_cursor('{"offset": 1000000, "run_id": "run-of-k"}'),
        spoil_cursor('{"place": 7}'),
    ],
)
def test_a_damaged_journal_is_moved_aside_and_the_others_are_delivered(
    spoil: Callable[[Path], object], spool: Path, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, sound = leave_orphan(spool, store), leave_orphan(spool, store)
    spoil(damaged)
    before = (damaged / "ops.jsonl").read_bytes()
    caplog.clear()
    journal = Journal(spool, store, {**OPENING, "key": "new"}, QUICK)
    journal.append(metrics(9))
    assert journal.close()
    (warning,) = caplog.messages
    assert warning.startswith(f"tracking: {damaged} is damaged (")
    assert "\n" not in warning
    assert not sound.exists()
    assert [op.get("key") for op in store.kept if op["op"] == "open"][-2:] == ["k", "new"]
    (left,) = spool.iterdir()
    assert left.name == f"{damaged.name}.damaged"
    assert (left / "ops.jsonl").read_bytes().startswith(before)
    deliver_orphans(spool, store)
    assert len(caplog.messages) == 1


def test_an_orphan_that_cannot_be_read_is_left_and_the_others_are_delivered(
    spool: Path, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, sound = leave_orphan(spool, store), leave_orphan(spool, store)
    (unreadable / "ops.jsonl").rename(unreadable / "ops")
    (unreadable / "ops.jsonl").mkdir()
    caplog.clear()
    deliver_orphans(spool, store)
    assert len(caplog.messages) == 1
    assert f"{unreadable} cannot be delivered" in caplog.text
    assert not sound.exists()


def test_a_courier_that_dies_leaves_the_writer_usable(
    spool: Path, store: FileStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(run_id: str, ops: Sequence[Op], folder: Path) -> None:
        raise ZeroDivisionError("a fault\nof a library")

    monkeypatch.setattr(store, "write", fault)
    journal = Journal(spool, store, OPENING, QUICK)
    journal.append(metrics(0))
    deadline = time.monotonic() + 10
    while not caplog.messages and time.monotonic() < deadline:
        time.sleep(0.02)
    for step in range(1, 100):
        journal.append(metrics(step))
    deliver_orphans(spool, store)
    assert journal.folder.exists()  # still its own
    assert not journal.close()
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "tracking: the delivery failed (ZeroDivisionError: a fault of a library)",
        f"tracking: {journal.folder} is kept",
    ]
    monkeypatch.undo()
    deliver_orphans(spool, store)
    assert store.steps() == list(range(100))


def test_journals_name_their_process(spool: Path, store: FileStore) -> None:
    store.away = True
    journal = Journal(spool, store, OPENING, QUICK)
    assert journal.folder.name.endswith(f"-{os.getpid()}")
    journal.close()
