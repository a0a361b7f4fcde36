"""A sweep's trials in their storage: exactly as many as were asked for, whoever dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.sweeping.found import Found, markdown
from pipelines.sweeping.space import Space
from pipelines.sweeping.study import Study, check_installed, note_run

RANGE = {"low": 0.001, "high": 1.0, "log": True}
VALUES = {
    "parameters": {"train.rate": RANGE, "loss.kind": {"choices": ["a", "b"]}},
    "objectives": ["domain/fid"],
    "seed": 3,
    "random_trials": 6,
    "pruning": {"after_trials": 2, "from_measurement": 2},
}
SPACE = Space.model_validate(VALUES)
# Asks for a trial, and dies in it.
DIES = """
import os, sys
from pathlib import Path
from pipelines.sweeping.study import Study
from tests.pipelines.sweeping.test_study import SPACE
asked = Study.open(Path(sys.argv[1]), "s", SPACE, "commit").ask()
print(asked.params["train.rate"], flush=True)
os.kill(os.getpid(), 9)
"""


def open_study(home: Path, space: Space = SPACE) -> Study:
    return Study.open(home, "s", space, "commit")


def test_what_died_is_closed_and_repeated_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DIES, str(tmp_path)]
    rate = float(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    study = open_study(tmp_path)
    assert study.repeat_the_dead() == 1
    assert study.tried() == []
    asked = study.ask()
    assert asked.params["train.rate"] == rate
    study.tell(asked, [1.0])
    assert [each.values for each in study.tried()] == [(1.0,)]
    assert study.ask().params["train.rate"] != rate


def test_what_goes_on_does_not_draw_again_what_was_drawn_and_keeps_its_space(tmp_path: Path) -> None:
    rates = []
    for _ in range(3):
        study = open_study(tmp_path)
        asked = study.ask()
        rates.append(asked.params["train.rate"])
        study.tell(asked, [rates[-1]])
    assert len(set(rates)) == 3
    other = Space.model_validate(VALUES | {"parameters": {"train.rate": RANGE}})
    with pytest.raises(UserError, match="sweep s: was begun with another space"):
        open_study(tmp_path, other)


def test_lagging_trials_are_found_and_failures_count_with_their_reason(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    for level in (1.0, 2.0):
        asked = study.ask()
        for step in (1, 2, 3):
            assert not study.lags(asked.number, step, level / step)
        study.tell(asked, [level])
    lagging = study.ask()
    elsewhere = Study(tmp_path, "s", SPACE)
    assert not elsewhere.lags(lagging.number, 1, 9.0), "not before the second measurement"
    assert elsewhere.lags(lagging.number, 2, 9.0)
    note_run(lagging, "digits-1")
    study.tell_pruned(lagging)
    failed = study.ask()
    study.tell_failed(failed, "stage train: no memory")
    tried = study.tried()
    assert [each.why for each in tried] == ["", "", "stopped, as it lagged", "stage train: no memory"]
    found = Found("s", SPACE, tuple(tried), tuple(study.best()))
    assert found.headline == "Sweep s: 4 trials, 2 evaluated, 2 stopped or failed. Best: trial 0, domain/fid 1.00."
    page = markdown(found, ["importances.png"], [])
    assert f"gan repeat --seeds 5 -S train.rate={tried[0].point['train.rate']} -S loss.kind=" in page
    assert "| 3 | – |" in page


def test_of_several_objectives_all_that_no_other_beats(tmp_path: Path) -> None:
    space = SPACE.model_copy(update={"objectives": ("domain/recall", "train_seconds"), "pruning": None})
    assert space.directions() == ["maximize", "minimize"]
    study = open_study(tmp_path, space)
    for values in ((0.5, 10.0), (0.4, 5.0), (0.4, 11.0)):
        study.tell(study.ask(), values)
    assert sorted(each.number for each in study.best()) == [0, 1]


def test_without_optuna_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"needs Optuna, which is not installed; pip install 'ganlib\[sweep\]'"):
        check_installed()
