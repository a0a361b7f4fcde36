"""The project's own store, when it is not there yet."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.tracking import store
from pipelines.tracking.runs import deliver_pending
from pipelines.tracking.store import check_store
from tests.mlflow_server import wait_until
from tests.tracking_runs import run_of, steps

pytestmark = pytest.mark.integration


def test_a_store_that_is_not_there_is_made_once_by_several_at_once(project: Path) -> None:
    (project / "mlflow.db").unlink()
    code = """
        import sys
        from pipelines.tracking.experiment import Experiment
        from pipelines.tracking.runs import training_run
        EXPERIMENT = Experiment("e", metric="domain/fid", greater_is_better=False, halfway_images=64)
        key = sys.argv[1]
        with training_run(experiment=EXPERIMENT, run_key=key, run_name=key, params={}, tags={}, dataset=None) as log:
            log.metrics({"loss/critic": 1.0}, 1)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    children = [
        subprocess.Popen([*command, f"k{number}"], stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
        for number in range(2)
    ]
    told = [line for child in children for line in child.communicate()[1].decode().splitlines()]
    # On a machine that is busy with others the store may take longer to make than a training waits for it.
    assert [line for line in told if not line.endswith("at the next contact")] == []
    assert [child.returncode for child in children] == [0, 0]
    deliver_pending()
    assert [steps(run_of(f"k{number}", "e")) for number in range(2)] == [[1], [1]]


def test_a_store_whose_making_was_killed_is_made_anew(project: Path) -> None:
    (project / "mlflow.db").unlink()
    scratch = project / ".ganlib"
    maker = subprocess.Popen([sys.executable, "-c", "from pipelines.tracking import store; store.connect()"])
    wait_until(
        lambda: any(file.stat().st_size for file in scratch.glob("mlflow.db.*.partial")), "tables", timeout_s=120
    )
    maker.kill()
    maker.wait()
    assert not (project / "mlflow.db").exists()
    assert [each.name for each in store.connect().search_experiments()] == ["Default"]
    assert [file.name for file in scratch.iterdir()] == ["store.lock"]


def test_a_store_that_cannot_be_made_is_told_in_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/file/x.db")
    with pytest.raises(UserError, match=r"cannot be created: .*; close other programs that use x\.db, check"):
        check_store()
