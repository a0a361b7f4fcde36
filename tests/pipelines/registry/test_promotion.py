"""Promote, roll back and the history, on real stores, against a model in plain Python."""

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.errors import UserError
from pipelines import cli
from pipelines.registry import promotion
from pipelines.tracking import store
from tests.configs import ROOT
from tests.mlflow_server import free_port
from tests.promotions import Plain, add_versions, create, ledger, log, promote, roll_back
from tests.registered import ADA, be_ada, make_generator, told_history
from tests.registry_writers import Command, run_command

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_ada(tmp_path, monkeypatch)


def test_a_rollback_restores_the_version_before(project: Path, small_model: Path) -> None:
    name = create("digits", small_model)
    assert promote(name, "2") == "model digits: version 2 is now the champion; before: none"
    assert promote(name, "4", "  sharper\nthrees ") == "model digits: version 4 is now the champion; before: 2"
    promote(name, "1")
    before = store.connect().get_registered_model(name)
    assert promote(name, "1", "again") == "model digits: version 1 is already the champion; nothing changed"
    assert dict(store.connect().get_registered_model(name)) == dict(before)
    assert roll_back(name) == "model digits: version 4 is the champion again; rolled back: 1"
    roll_back(name)
    assert ledger(name).champion == "2"
    with pytest.raises(UserError, match="version 2 is the first known champion, so there is none to roll back to"):
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
    assert promote(name, "challenger").startswith("model digits: version 3 is now the champion")


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
    refused(("promote", "9", "x"), "version 9 does not exist or is deleted (the latest: 1, 2, 3)")
    refused(("promote", "challenger", "x"), "no version has the alias challenger")
    refused(("rollback", "", "x"), "no version has the alias champion, so there is nothing to roll back; promote one")
    refused(("rollback", "", "x"), "model nothing: not in the registry", model="nothing")
    promote(name, "1")
    promote(name, "2")
    client.delete_registered_model_alias(name, "champion")
    refused(("rollback", "", "x"), "the last was 2: `gan promote 2")
    promote(name, "3")
    client.delete_model_version(name, "2")
    refused(("rollback", "", "x"), "version 2 does not exist or is deleted (the latest: 1, 3)")
    assert [entry[:4] for entry in told_history(name)] == [
        ("promote", None, "1", ADA), ("promote", "1", "2", ADA), ("outside", "2", None, "unknown"),
        ("promote", None, "3", ADA),
    ]  # fmt: skip
    client.delete_model_version(name, "3")
    assert (
        promotion.history(name)[0].why
        == "The alias was removed, or its version deleted, outside gan; detected at this time."
    )
    client.set_registered_model_tag(name, "history.000009.ff", '{"action": "dance"}')
    refused(("promote", "1", "x"), "the tag history.000009.ff is not a valid history entry")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    refused(("promote", "1", "x"), "no answer (connection refused); start it again with")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (project / "mlflow.db").unlink()
    refused(("promote", "1", "x"), "mlflow.db: not in this folder")


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
        ("all", "its files are missing"),
        ("weights", "its files are missing (no generator.safetensors)"),
        ("exchanged", "its stored generator is not the one that was registered"),
        ("description", "contains no generator"),
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
    assert promote(name, "2").endswith("version 2 is now the champion; before: 1")


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
    assert gan("promote", "9", "--reason", "x", *model)[2].startswith("error: model digits: version 9 does not exist")
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
