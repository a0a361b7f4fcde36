"""Promote, roll back and the history, on real stores, against a model in plain Python, with races and crashes."""

import json
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.errors import UserError
from ganlib.packaging import generator_sha256
from pipelines import cli
from pipelines.registry import promotion
from pipelines.registry.champion import move, read
from pipelines.registry.history import Ledger
from pipelines.registry.versions import quiet_pyfunc
from pipelines.tracking import delivery, store
from tests.configs import ROOT
from tests.mlflow_server import MlflowServer, free_port, wait_until
from tests.registered import ADA, be_ada, make_generator, told_history
from tests.registry_writers import Command, Writers, run_command

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_ada(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def writers() -> Writers:
    return Writers()


CODE = """
import mlflow
from mlflow.pyfunc.model import PythonModel


class Small(PythonModel):
    def load_context(self, context):
        open(context.artifacts["generator"] + "/generator.json").close()

    def predict(self, model_input: list[int]) -> list[int]:
        return model_input


mlflow.models.set_model(Small())
"""


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that holds a generator and loads quickly, as it would be registered."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "code.py").write_text(CODE)
    artifacts = {"generator": str(make_generator(folder / "generator", 1))}
    with quiet_pyfunc():
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(
            folder / "model", python_model=str(folder / "code.py"), artifacts=artifacts, pip_requirements=[]
        )
    return folder / "model"


def log(model: Path) -> str:
    """The id of a logged model with these files."""
    client = store.connect()
    store.address_all_of_mlflow()
    logged = client.create_logged_model(delivery.find_or_create_experiment(client, "small"), name="generator")
    client.log_model_artifacts(logged.model_id, str(model))
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def create(name: str, model: Path, versions: int = 4) -> str:
    """A registered model with versions that share their files."""
    store.connect().create_registered_model(name)
    add_versions(name, log(model), versions, generator_sha256(model / "artifacts" / "generator"))
    return name


def add_versions(name: str, model_id: str, count: int, digest: str) -> None:
    for _ in range(count):
        store.connect().create_model_version(
            name, source=f"models:/{model_id}", model_id=model_id, tags={"generator_sha256": digest}
        )


def ledger(name: str) -> Ledger:
    return read(store.connect(), name)


def promote(name: str, version: str, why: str = "better") -> str:
    return promotion.promote(name, version, why, say=print)


def roll_back(name: str, why: str = "worse") -> str:
    return promotion.roll_back(name, why, say=print)


def test_a_rollback_restores_the_version_before(project: Path, small_model: Path) -> None:
    name = create("digits", small_model)
    assert promote(name, "2") == "model digits: version 2 is the champion now; before: none"
    assert promote(name, "4", "  sharper\nthrees ") == "model digits: version 4 is the champion now; before: 2"
    promote(name, "1")
    before = store.connect().get_registered_model(name)
    assert promote(name, "1", "again") == "model digits: version 1 is the champion already; nothing changed"
    assert dict(store.connect().get_registered_model(name)) == dict(before)
    assert roll_back(name) == "model digits: version 4 is the champion again; rolled back: 1"
    roll_back(name)
    assert ledger(name).champion == "2"
    with pytest.raises(UserError, match="version 2 is the first champion known, so there is none to go back to"):
        roll_back(name)
    assert told_history(name) == [
        ("promote", None, "2", ADA, "better"),
        ("promote", "2", "4", ADA, "sharper threes"),
        ("promote", "4", "1", ADA, "better"),
        ("rollback", "1", "4", ADA, "worse"),
        ("rollback", "4", "2", ADA, "worse"),
    ]
    promote(name, "3")
    roll_back(name)
    assert ledger(name).champion == "2"
    store.connect().set_registered_model_alias(name, "challenger", "3")
    assert promote(name, "challenger").startswith("model digits: version 3 is the champion now")


def test_mistakes_are_one_line(project: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create("digits", small_model, 3)
    client = store.connect()

    def refused(command: Command, words: str, model: str = name) -> None:
        said = run_command(model, command)
        assert said.startswith("error: ")
        assert words in said
        assert "\n" not in said

    refused(("promote", "1", " \n "), "--reason: empty")
    refused(("promote", "1", "x" * 1001), "--reason: 1001 characters, expected at most 1000")
    refused(("promote", "best", "x"), "VERSION=best: expected the number of a version, or challenger")
    refused(("promote", "9" * 20, "x"), f"VERSION={'9' * 20}: expected the number of a version, or challenger")
    refused(("promote", "9" * 5000, "x"), "…: expected the number of a version, or challenger")
    refused(("promote", "9", "x"), "version 9 is not in the registry, or deleted (the latest there: 1, 2, 3)")
    refused(("promote", "challenger", "x"), "no version has the alias challenger")
    refused(("rollback", "", "x"), "no version has the alias champion, so there is nothing to roll back; promote one")
    refused(("rollback", "", "x"), "model nothing: not in the registry", model="nothing")
    promote(name, "1")
    promote(name, "2")
    client.delete_registered_model_alias(name, "champion")
    refused(("rollback", "", "x"), "the last was 2: `gan promote 2")
    promote(name, "3")
    client.delete_model_version(name, "2")
    refused(("rollback", "", "x"), "version 2 is not in the registry, or deleted (the latest there: 1, 3)")
    assert [entry[:4] for entry in told_history(name)] == [
        ("promote", None, "1", ADA), ("promote", "1", "2", ADA), ("outside", "2", None, "unknown"),
        ("promote", None, "3", ADA),
    ]  # fmt: skip
    client.delete_model_version(name, "3")
    assert (
        promotion.history(name)[0].why
        == "The alias was removed, or its version deleted, outside gan; noticed at this time."
    )
    client.set_registered_model_tag(name, "history.000009.ff", '{"action": "dance"}')
    refused(("promote", "1", "x"), "the tag history.000009.ff is no entry of its history")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    refused(("promote", "1", "x"), "no answer (connection refused); start it with")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (project / "mlflow.db").unlink()
    refused(("promote", "1", "x"), "mlflow.db: no registry in this folder")
    assert not (project / "mlflow.db").exists()


class Plain:
    """What the registry should hold, in a few lines."""

    def __init__(self) -> None:
        self.champion: str | None = None
        self.holders: list[str] = []
        self.moves: list[tuple[str, str | None, str | None]] = []
        self._known: str | None = None

    def outside(self, version: str | None) -> None:
        self.champion = version

    def promote(self, version: str) -> bool:
        self._notice()
        return self._go("promote", version)

    def roll_back(self) -> bool:
        self._notice()
        if self.champion is None or len(self.holders) < 2:
            return False
        del self.holders[-1]
        return self._go("rollback", self.holders[-1])

    def _notice(self) -> None:
        found, self.champion = self.champion, self._known
        self._go("outside", found)

    def _go(self, action: str, version: str | None) -> bool:
        if version == self.champion:
            return False
        self.moves.append((action, self.champion, version))
        self.champion = self._known = version
        if version is not None and self.holders[-1:] != [version]:
            self.holders.append(version)
        return True


VERSIONS = st.sampled_from(["1", "2", "3"])
STEPS = st.one_of(
    st.tuples(st.just("promote"), VERSIONS),
    st.tuples(st.just("rollback"), st.none()),
    st.tuples(st.just("outside"), VERSIONS | st.none()),
)


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"model{number}" for number in range(10_000))


def test_any_sequence_does_what_the_plain_model_does(project: Path, small_model: Path, names: Iterator[str]) -> None:
    @settings(max_examples=8)
    @given(st.lists(STEPS, min_size=4, max_size=12))
    def check(steps: list[tuple[str, str | None]]) -> None:
        name, plain, client = create(next(names), small_model, 3), Plain(), store.connect()
        for action, version in steps:
            if action == "promote":
                assert version is not None
                said = promote(name, version)
                assert said.endswith("nothing changed") != plain.promote(version)
            elif action == "rollback":
                said = run_command(name, ("rollback", "", "worse"))
                assert said.startswith("error") != plain.roll_back()
            elif version is None:
                client.delete_registered_model_alias(name, "champion")
                plain.outside(None)
            else:
                client.set_registered_model_alias(name, "champion", version)
                plain.outside(version)
            assert ledger(name).champion == plain.champion
        assert [entry[:3] for entry in told_history(name)] == plain.moves

    check()


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
    assert all("first champion known" in text or "nothing to roll back" in text for text in refused)


def commands(source: random.Random, who: str, count: int) -> list[Command]:
    return [
        (source.choice(["promote", "promote", "rollback"]), str(source.randint(1, 4)), f"{who}{number}")
        for number in range(count)
    ]


@pytest.mark.parametrize("where", ["two folders and a server", "one folder and a SQLite file"])
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


def damaged(model: Path, damage: str) -> None:
    match damage:
        case "all":
            shutil.rmtree(model)
        case "weights":
            (model / "artifacts/generator/generator.safetensors").unlink()
        case "exchanged":
            make_generator(model / "artifacts/generator", 2)
        case "description":
            (model / "MLmodel").write_text("{")
        case _:
            (model / "code.py").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("all", "its files are gone"),
        ("weights", "its files are gone (no generator.safetensors)"),
        ("exchanged", "its stored generator is not the one that was registered"),
        ("description", "holds no generator"),
        ("code", "code.py"),
    ],
)
def test_what_cannot_be_loaded_never_becomes_champion(
    damage: str, words: str, project: Path, small_model: Path
) -> None:
    name = create("digits", small_model, 2)
    client, model_id = store.connect(), log(small_model)
    add_versions(name, model_id, 2, client.get_model_version(name, "1").tags["generator_sha256"])
    promote(name, "3")
    promote(name, "1")
    (stored,) = (project / "mlruns").rglob(f"{model_id}/artifacts")
    damaged(stored, damage)
    before = dict(client.get_registered_model(name))
    for command in (("promote", "3", "x"), ("promote", "4", "x"), ("rollback", "", "x")):
        said = run_command(name, command)
        assert said.startswith("error: model digits: version ")
        assert words in said
        assert said.endswith("choose another with `gan promote VERSION --reason …`")
        assert "\n" not in said
    assert dict(client.get_registered_model(name)) == before
    assert promote(name, "2").endswith("version 2 is the champion now; before: 1")


def test_the_commands(
    project: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gan(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["gan", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    monkeypatch.setenv("COLUMNS", "120")
    create("digits", small_model)
    model = ("--model", "digits")
    assert gan("history", *model) == (0, "model digits: no version has been champion yet\n", "")
    assert gan("history", "--json", *model)[1] == "[]\n"
    assert gan("promote", "2", *model)[0] == 2
    assert gan("promote", "2", "--reason", "good \x1b[31m[red]", *model)[0] == 0
    assert gan("promote", "3", "--reason", "better", *model)[0] == 0
    code, out, _ = gan("rollback", "--reason", "eights look like threes", *model)
    assert (code, out) == (0, "model digits: version 2 is the champion again; rolled back: 3\n")
    assert gan("promote", "9", "--reason", "x", *model)[2].startswith("error: model digits: version 9 is not in")
    newest, _, oldest = json.loads(gan("history", "--json", *model)[1])
    assert {key: newest[key] for key in ("who", "action", "from", "to", "why")} == {
        "who": ADA, "action": "rollback", "from": "3", "to": "2", "why": "eights look like threes",
    }  # fmt: skip
    assert abs(datetime.now(UTC) - datetime.fromisoformat(newest["when"])) < timedelta(minutes=1)
    assert (oldest["from"], oldest["why"]) == (None, "good ?[31m[red]")
    table = gan("history", *model)[1]
    assert table.index("3 → 2") < table.index("2 → 3") < table.index("none → 2")
    assert "eights look like threes" in table
    # Without --model, params.yaml names it.
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert gan("history")[1] == table
