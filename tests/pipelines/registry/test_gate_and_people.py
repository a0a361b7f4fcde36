"""What the register stage makes of promotions and rollbacks by people."""

from dataclasses import replace
from pathlib import Path

import pytest

from ganlib.evaluation.comparison import Comparison
from ganlib.packaging import generator_sha256
from pipelines.registry import promotion
from pipelines.registry.history import Action, Ledger, Transition
from pipelines.tracking import store
from tests.registered import ADA, be_ada, compared, comparison, make_generator, state, submit, told_history

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
    assert told_history("digits")[1][4] == "Promoted: surely better than version 1 by more than the margin of 0.05."
    promotion.roll_back("digits", "eights look like threes", say=print)
    before = told_history("digits")
    again = submit(two, 2.0)
    assert not again.verdict.promoted
    assert again.verdict.reason.startswith(f"Not promoted: rolled back by {ADA} at ")
    words = "(eights look like threes); to promote it anyway: `gan promote 2 --reason …`. By its figures: surely"
    assert words in again.verdict.reason
    assert submit(two, 2.0) == again
    assert told_history("digits") == before
    assert submit(three, 2.8).verdict.promoted
    assert not submit(two, 2.0).verdict.promoted  # it would beat version 3 too
    promotion.promote("digits", "2", "looked at them again", say=print)
    assert submit(two, 2.0).verdict.reason == f"Already the champion. By {ADA}: looked at them again"
    assert "replaced as champion by Ada" not in submit(one, 3.0).verdict.reason
    found = submit(three, 1.0).verdict
    assert (found.promoted, found.reason.split(" at ")[0]) == (False, f"Not promoted: replaced as champion by {ADA}")
    assert state("digits")["aliases"] == {"challenger": "3", "champion": "2"}


def test_the_gate_judges_anew_when_a_person_was_faster(project: Path) -> None:
    one, two, three = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2, 3))
    submit(one, 3.0)
    submit(two, 2.99)
    met = []

    def contest(folder: Path) -> Comparison:
        met.append(generator_sha256(folder))
        if len(met) == 1:
            store.connect().set_registered_model_alias("digits", "champion", "2")
            return comparison(compared(2.0, 3.0))
        return comparison(compared(2.0, 1.0))

    late = submit(three, 2.0, contest=contest)
    assert met == [generator_sha256(one), generator_sha256(two)]
    assert (late.version, late.verdict.promoted, late.champion_version) == ("3", False, "2")
    assert late.verdict.table[0].champion == 1.0
    assert [entry[2:4] for entry in told_history("digits")] == [("1", "gate"), ("2", "unknown")]


def test_a_generator_taken_off_is_known_when_registered_again() -> None:
    def moved(number: int, action: Action, origin: str | None, target: str | None, digest: str, who: str) -> Transition:
        return Transition(f"history.{number:06d}.t", action, origin, target, digest, who, "why", "when")

    entries = (
        moved(1, "promote", None, "1", "one", "gate"),
        moved(2, "promote", "1", "2", "two", "gate"),
        moved(3, "rollback", "2", "1", "one", ADA),
    )
    held = Ledger("m", "1", None, entries, None)
    assert held.taken_by_person("2", "two") == held.taken_by_person("7", "two") == entries[2]
    assert held.taken_by_person("1", "one") is None
    assert held.taken_by_person("3", "three") is None
    back = replace(held, champion="8", transitions=(*entries, moved(4, "promote", "1", "8", "two", ADA)))
    assert back.taken_by_person("8", "two") is None
    assert back.taken_by_person("1", "one") is not None
