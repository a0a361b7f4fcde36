"""A sweep with stages of a line each, on a real Prefect server: killed in the middle, gone on with, adopted."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from pipelines import paths
from tests.evaluations import evaluation, figure
from tests.toy_project import ToyProject, commit_all, make_project, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1800)]
TRIALS = 12
RATE = "train.generator_optimizer.learning_rate"
SPACE = {
    "parameters": {RATE: {"low": 1e-6, "high": 1.0, "log": True}, "train.batch_size": {"choices": [32, 64]}},
    "objectives": ["domain/fid"],
    "seed": 0,
    "random_trials": 4,
    "pruning": {"after_trials": 3, "from_measurement": 2},
}
DISTANCE = """
import json, math, yaml
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())["train"]
distance = abs(math.log10(params["generator_optimizer"]["learning_rate"] / 0.01)) + params["batch_size"] / 1000
"""
TRAINS = """
pathlib.Path(".ganlib").mkdir(exist_ok=True)
for step in range(1, 6):
    with pathlib.Path(".ganlib/measured.jsonl").open("a") as file:
        file.write(json.dumps([step * params["measure_every_images"], distance * (1 + 1 / step)]) + "\\n")
    time.sleep(0.7)
"""
EVALUATES = """
found = json.loads(pathlib.Path("template.json").read_text())
found["metrics"]["domain/fid"] |= {"value": distance, "interval": None}
found["generator_sha256"] = f"{abs(hash(distance)):064x}"
pathlib.Path("reports").mkdir(exist_ok=True)
pathlib.Path("reports/evaluation.json").write_text(json.dumps(found))
"""


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    made = make_project(tmp_path / "project", no_scm=False)
    stages = yaml.safe_load((made.root / "dvc.yaml").read_text())
    for name in ("train", "evaluate"):
        stages["stages"][name]["params"] = ["train"]
    stages["stages"]["evaluate"]["outs"].append({str(paths.EVALUATION): {"cache": False}})
    (made.root / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    params = yaml.safe_load((made.root / "params.yaml").read_text())
    params["train"]["generator_optimizer"]["learning_rate"] = 0.5
    (made.root / "params.yaml").write_text(yaml.safe_dump(params))
    (made.root / "template.json").write_text(json.dumps(evaluation(fid=figure(0.0)).model_dump(mode="json")))
    (made.root / "sweep.yaml").write_text(yaml.safe_dump(SPACE))
    (made.root / ".gitignore").write_text((made.root / ".gitignore").read_text() + "/mlflow.db*\n/mlruns/\n")
    made.behave("train", DISTANCE + TRAINS)
    made.behave("evaluate", DISTANCE + EVALUATES)
    commit_all(made)
    return made


def git(project: ToyProject, *arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=project.root, text=True)


def start(project: ToyProject, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=project.root,
        env={name: value for name, value in environment.items() if name != "MLFLOW_TRACKING_URI"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("where", [(), ("--dask", "local")], ids=["processes", "dask"])
def test_killed_and_started_again_it_ends_with_exactly_as_many_trials(
    where: tuple[str, ...], project: ToyProject, prefect_environment: dict[str, str], prefect_client: SyncPrefectClient
) -> None:
    import optuna
    from mlflow import MlflowClient

    command = ("sweep", "--trials", str(TRIALS), "--parallel", "2", *where)
    with start(project, prefect_environment, *command) as run:
        assert run.stdout is not None
        said = []
        for line in run.stdout:
            said.append(line)
            if f"(4 of {TRIALS} ended)" in line:
                break
        else:
            raise AssertionError("".join(said))
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not project.processes(), timeout_s=60, what="nothing outlives it")

    with start(project, prefect_environment, *command) as run:
        output, _ = run.communicate(timeout=1200)
    assert run.returncode == 0, output
    told = re.search(rf"sweep sweep: 4 of {TRIALS} trials have ended, ([12]) broken off and repeated; 2 at a", output)
    assert told, output
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{project.root / '.ganlib/sweeps/sweep.db'}")
    states = [trial.state.name for trial in study.trials]
    assert (states.count("COMPLETE") + states.count("PRUNED"), states.count("FAIL")) == (TRIALS, int(told[1]))
    assert set(states) == {"COMPLETE", "PRUNED", "FAIL"}

    # All is as it was but for the best one, which is adopted.
    assert not [path for path in (project.root / paths.RUNS).iterdir() if path.is_dir()]
    assert git(project, "status", "--porcelain") == ""
    branches = set(git(project, "branch", "--list", "runs/*", "--format=%(refname:lstrip=3)").split())
    assert branches == {trial.user_attrs["run"] for trial in study.trials if trial.state.name == "COMPLETE"}
    best = study.best_trial
    assert f"gan repeat --seeds 5 -S train.batch_size={best.params['train.batch_size']} -S {RATE}=" in output
    assert f"gan adopt {best.user_attrs['run']}" in output
    with start(project, prefect_environment, "adopt", best.user_attrs["run"]) as adopting:
        adopting.communicate(timeout=120)
    adopted = yaml.safe_load((project.root / "params.yaml").read_text())["train"]
    assert adopted["generator_optimizer"]["learning_rate"] == best.params[RATE]

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (parent,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["sweep/best/domain/fid"] == pytest.approx(best.value)
    names = {each.path.partition("/")[2] for each in client.list_artifacts(parent.info.run_id, "sweep")}
    assert names == {"sweep.md", "trials.csv", "sweep.yaml", "parallel_coordinates.png", "importances.png"}
    flows = prefect_client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["sweep sweep"])))
    assert "Completed" in {flow.state_name for flow in flows}

    with start(project, prefect_environment, *command) as again:
        output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert "goes on with what it began with" in output
    assert f"Sweep sweep: {TRIALS} trials" in output
