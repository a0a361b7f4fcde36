"""Recipes repeated over seeds in a real project: killed, gone on with, compared."""

import re
import signal
import subprocess
import sys

import pytest

from pipelines import paths
from tests.pipeline_project import Project, make_project
from tests.toy_project import processes_in, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("repeating") / "project")


def test_seeds_are_nested_taken_over_and_told_apart_from_chance(project: Project) -> None:
    from mlflow import MlflowClient

    command = [sys.executable, "-m", "pipelines.cli", "repeat", "--seeds", "3", "--parallel", "2"]
    with subprocess.Popen(command, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "(1 of 3 done)" in line:
                break
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes_in(project.root), timeout_s=30, what="nothing outlives it")

    before = project.git("status", "--porcelain")
    done = project.gan("repeat", "--seeds", "3", "--parallel", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"3 trainings, [12] of them made before", done.stdout)
    assert "taken over: it was made before" in done.stdout
    page = (project.root / paths.REPETITION).read_text(encoding="utf-8")
    assert "on average over 3 seeds" in page
    assert "on average over 3 seeds" in done.stdout
    assert project.git("status", "--porcelain").splitlines() == [*before.splitlines(), f"?? {paths.REPETITION}"]
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    (parent,) = [each for each in runs if each.data.tags.get("ganlib.group_kind") == "repeat"]
    nested = [each for each in runs if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(each.data.params["train.seed"] for each in nested) == ["0", "1", "2"]
    assert {each.info.status for each in (parent, *nested)} == {"FINISHED"}
    mean = sum(each.data.metrics["eval/domain/fid_estimate"] for each in nested) / 3
    assert parent.data.metrics["repeat/domain/fid_mean"] == pytest.approx(mean, rel=1e-4)
    assert [each.path for each in client.list_artifacts(parent.info.run_id, "repetition")] == [
        "repetition/repetition.md"
    ]
    assert client.search_registered_models() == []
