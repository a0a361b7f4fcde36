"""Promotions that race, are killed at any write, or meet another machine's."""

import json
import os
import random
import signal
import threading
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from pipelines.registry import promotion
from pipelines.registry.champion import move, read
from pipelines.tracking import store
from tests.mlflow_server import MlflowServer, wait_until
from tests.promotions import Plain, create, ledger, promote, roll_back
from tests.registered import ADA, be_ada, make_generator, state, submit, told_history
from tests.registry_writers import Command, Writers, run_command

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_ada(tmp_path, monkeypatch)


def check_true_history(name: str, said: dict[Command, str]) -> None:
    """Each command that says it moved the alias did so once, in an order that the plain model agrees with."""
    found = ledger(name)
    assert all(one.target == other.origin for one, other in pairwise(found.transitions))
    assert found.champion == found.transitions[-1].target
    plain = Plain()
    for each in found.transitions:
        assert each.target is not None
        assert plain.roll_back() if each.action == "rollback" else plain.promote(each.target)
        assert plain.moves[-1] == (each.action, each.origin, each.target)
    moved = {
        reason: text for (_, _, reason), text in said.items() if "nothing changed" not in text and "error" not in text
    }
    assert sorted(each.why for each in found.transitions) == sorted(moved)
    refused = [text for text in said.values() if "error" in text]
    assert all("first known champion" in text or "nothing to roll back" in text for text in refused)


def commands(source: random.Random, who: str, count: int) -> list[Command]:
    return [
        (source.choice(["promote", "promote", "rollback"]), str(source.randint(1, 4)), f"{who}{number}")
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "where",
    ["two folders and a server", pytest.param("one folder and a SQLite file", marks=pytest.mark.thorough)],
)
def test_two_processes_race(
    where: str,
    project: Path,
    small_model: Path,
    writers: Writers,
    session_server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = [project, project]
    if where.startswith("two"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", session_server.uri)
        folders = [project / "a", project / "b"]
    name = create("raced", small_model)
    source = random.Random(0)
    work = [commands(source, who, 8) for who in "ab"]
    said = [project / f"{who}.json" for who in "ab"]
    processes = [
        writers.start(folder, name, todo, said=file) for folder, todo, file in zip(folders, work, said, strict=True)
    ]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    texts = [text for file in said for text in json.loads(file.read_text())]
    check_true_history(name, dict(zip([*work[0], *work[1]], texts, strict=True)))


def run_to_end(writers: Writers, folder: Path, name: str, command: Command, before_write: int) -> int | None:
    process = writers.start(folder, name, [command], mishap=(signal.SIGKILL, before_write))
    process.join(60)
    return process.exitcode


PROMOTE: Command = ("promote", "3", "why")
ROLLBACK: Command = ("rollback", "", "why")


def prepared(name: str, model: Path) -> str:
    create(name, model)
    client = store.connect()
    for version in "12":
        move(client, read(client, name), "promote", client.get_model_version(name, version), who=ADA, why="better")
    return name


@pytest.mark.thorough
@pytest.mark.parametrize("command", [PROMOTE, ROLLBACK], ids=lambda command: str(command[0]))
def test_killed_before_any_write_and_run_again(
    command: Command, project: Path, small_model: Path, writers: Writers
) -> None:
    expected_name = prepared("whole", small_model)
    run_command(expected_name, command)
    expected = told_history(expected_name)
    assert len(expected) == 3
    for before_write in range(4):
        name = prepared(f"killed-{before_write}", small_model)
        exit_code = run_to_end(writers, project, name, command, before_write)
        assert exit_code == (0 if before_write == 3 else -signal.SIGKILL)
        if before_write < 3:
            assert "error" not in run_command(name, command)
        assert told_history(name) == expected
        assert ledger(name).champion == expected[-1][2]


@pytest.mark.thorough
def test_killed_and_something_else_done(project: Path, small_model: Path, writers: Writers) -> None:
    intended = prepared("intended", small_model)
    run_to_end(writers, project, intended, PROMOTE, 1)
    assert len(promotion.history(intended)) == 2
    roll_back(intended)
    assert [entry[:4] for entry in told_history(intended)[2:]] == [("rollback", "2", "1", ADA)]
    moved = prepared("moved", small_model)
    run_to_end(writers, project, moved, PROMOTE, 2)
    assert (promotion.history(moved)[0].who, promotion.history(moved)[0].why) == (ADA, "why")
    roll_back(moved)
    assert [entry[:4] for entry in told_history(moved)[2:]] == [
        ("promote", "2", "3", ADA), ("rollback", "3", "2", ADA),
    ]  # fmt: skip
    taken = prepared("taken", small_model)
    run_to_end(writers, project, taken, PROMOTE, 2)
    store.connect().set_registered_model_alias(taken, "champion", "4")
    assert [(each.action, each.origin, each.target) for each in promotion.history(taken)[:1]] == [("outside", "2", "4")]


def test_a_command_waits_for_another(project: Path, small_model: Path, writers: Writers) -> None:
    name = prepared("waited", small_model)
    process = writers.start(project, name, [PROMOTE], mishap=(signal.SIGSTOP, 1))
    assert process.pid is not None
    wait_until(lambda: ledger(name).intent != ledger(name).transitions[-1], "the intent", timeout_s=120)
    heard: list[str] = []
    second = threading.Thread(target=promotion.promote, args=(name, "4", "mine"), kwargs={"say": heard.append})
    second.start()
    wait_until(lambda: bool(heard), "that it waits", timeout_s=120)
    assert heard[0].startswith(f"waiting for process {process.pid} (since ")
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    second.join(60)
    assert [entry[1:5] for entry in told_history(name)[2:]] == [("2", "3", ADA, "why"), ("3", "4", ADA, "mine")]


@pytest.mark.thorough
def test_two_machines_at_once_are_told_apart(
    server: MlflowServer, small_model: Path, writers: Writers, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their locks are not the same; nobody's reason is lost, and what holds is what the history ends with."""
    name = prepared("apart", small_model)
    (project / "tmp").mkdir()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TMPDIR", str(project / "tmp"))
        process = writers.start(project / "other", name, [PROMOTE], mishap=(signal.SIGSTOP, 1))
    wait_until(lambda: ledger(name).intent != ledger(name).transitions[-1], "the intent", timeout_s=120)
    promote(name, "4", "mine")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    told = promotion.history(name)
    assert {each.why for each in told} >= {"why", "mine"}
    assert told[0].target == ledger(name).champion == "3"
    promote(name, "1", "after")
    assert told_history(name)[-1][1:3] == ("3", "1")


@pytest.mark.parametrize(
    "stopped_before",
    [pytest.param("finalize_logged_model", marks=pytest.mark.thorough), "create_model_version"],
)
def test_two_machines_that_register_one_generator_make_one_version(
    stopped_before: str, server: MlflowServer, writers: Writers, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is suspended on its way, between having found none and having made its own."""
    name, generator = f"once-{stopped_before}", make_generator(project / "generator", 7)
    (project / "tmp").mkdir()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TMPDIR", str(project / "tmp"))
        process = writers.submit(project / "other", name, generator, stopped_before=stopped_before)
    other = psutil.Process(process.pid)
    wait_until(lambda: other.status() == psutil.STATUS_STOPPED, "it is suspended", timeout_s=120)
    assert submit(generator, 3.0, name=name).version == "1"
    before = state(name)
    other.resume()
    process.join(120)
    said = json.loads((project / "other/said.json").read_text())
    assert said == [
        f"model {name}: another process registered this generator first, as version 1; version 2 is removed",
        "1",
    ]
    assert state(name) == before | {"models": ["READY"]}
    assert before["aliases"] == {"challenger": "1", "champion": "1"}
    assert promote(name, "1").endswith("nothing changed")
