"""What the register stage makes of promotions and rollbacks by people."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import mlflow_store, promotion
from pipelines.history import Action, Ledger, Transition
from tests.mlflow_server import MlflowServer
from tests.registered import ADA, be_ada, make_generator, state, submit, told_history

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_ada(tmp_path, monkeypatch)


def test_the_gate_heeds_people(project: Path) -> None:
    one, two, three = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2, 3))
    submit(one, 3.0)
    submit(two, 2.0)
    assert [entry[:4] for entry in told_history("digits")] == [
        ("promote", None, "1", "gate"), ("promote", "1", "2", "gate"),
    ]  # fmt: skip
    assert told_history("digits")[1][4] == "Better by 1: domain/fid 2 against the champion's 3, margin 0.05."
    promotion.roll_back("digits", "eights look like threes", say=print)
    before = told_history("digits")
    again = submit(two, 2.0)
    assert not again.promoted
    assert again.reason.startswith(f"Rolled back by {ADA} at ")
    assert "(eights look like threes); to promote it all the same: `gan promote 2 --reason …`. Better" in again.reason
    assert submit(two, 2.0) == again
    assert told_history("digits") == before
    assert submit(three, 2.9).promoted
    assert not submit(two, 2.0).promoted  # it would beat version 3 too
    promotion.promote("digits", "2", "looked at them again", say=print)
    assert submit(two, 2.0).reason == f"Already the champion. By {ADA}: looked at them again"
    assert "Replaced as champion by Ada" not in submit(one, 3.0).reason
    found = submit(three, 1.0)
    assert (found.promoted, found.reason.split(" at ")[0]) == (False, f"Replaced as champion by {ADA}")
    assert state("digits")["aliases"] == {"challenger": "3", "champion": "2"}


def test_the_gate_judges_anew_when_a_person_was_faster(server: MlflowServer, project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0, name="faster")
    tags = {"metric": "domain/fid", "measured_on": "ref2", "score": "1.0"}
    mlflow_store.connect().create_model_version("faster", source="s3://nowhere/model", tags=tags)

    def rescore(folder: Path) -> float:
        (project / "other").mkdir()
        with contextlib.chdir(project / "other"):
            promotion.promote("faster", "2", "while the gate was measuring", say=print)
        return 3.0

    late = submit(two, 2.0, name="faster", measured_on="ref2", rescore=rescore)
    assert (late.version, late.promoted, late.champion_version, late.champion_score) == ("3", False, "2", 1.0)
    assert [entry[2:4] for entry in told_history("faster")] == [("1", "gate"), ("2", ADA)]


def test_a_generator_taken_off_is_known_when_registered_again() -> None:
    def moved(number: int, action: Action, origin: str | None, target: str | None, digest: str, who: str) -> Transition:
        return Transition(number, "t", action, origin, target, digest, who, "why", "when", "place", "done")

    entries = (
        moved(1, "promote", None, "1", "one", "gate"),
        moved(2, "promote", "1", "2", "two", "gate"),
        moved(3, "rollback", "2", "1", "one", ADA),
    )
    held = Ledger("m", "1", None, entries)
    assert held.taken_by_person("2", "two") == held.taken_by_person("7", "two") == entries[2]
    assert held.taken_by_person("1", "one") is None
    assert held.taken_by_person("3", "three") is None
    back = replace(held, champion="8", transitions=(*entries, moved(4, "promote", "1", "8", "two", ADA)))
    assert back.taken_by_person("8", "two") is None
    assert back.taken_by_person("1", "one") is not None
