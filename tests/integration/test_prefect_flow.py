"""The flow against a real server, run as `gan run` does where a server is configured."""

import base64
import io
import json
import re
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import FlowRunSort

from pipelines.graph import dag
from tests.evaluations import evaluation, figure, registration, write_reports
from tests.toy_project import RUN, STAGES, ToyProject, make_project, run_in

# The cron schedule of another test comes round while these run.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("cron_project"),
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]


# Progress on its way, and a picture that is larger than a page needs.
TRAINS = """
from PIL import Image
print("train: 64 of 640 images, 32 images/s, 18 s left; loss/critic 1.5, domain/fid 12.25", flush=True)
pathlib.Path("reports").mkdir(exist_ok=True)
Image.new("L", (2048, 1024)).save("reports/training_samples.png")
"""


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    return make_project(tmp_path / "project", retries=1)


def last_run(client: SyncPrefectClient, project: ToyProject) -> FlowRun:
    by_hand = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(is_null_=True))
    runs = client.read_flow_runs(flow_run_filter=by_hand, sort=FlowRunSort.START_TIME_DESC)
    return next(run for run in runs if run.parameters.get("project") == str(project.root))


def task_runs(client: SyncPrefectClient, run_id: UUID) -> dict[str, TaskRun]:
    found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
    return {task_run.name: task_run for task_run in found}


def log_lines(client: SyncPrefectClient, run_id: UUID) -> list[str]:
    return [log.message for log in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))]


def test_one_task_per_stage_with_the_edges_of_the_graph(
    project: ToyProject, prefect_environment: dict[str, str], prefect_client: SyncPrefectClient
) -> None:
    project.behave("evaluate", "import os; print('run', os.environ['GANLIB_FLOW_RUN_ID'])")
    (project.root / "reports").mkdir()
    figures = json.dumps({"files": 9, "dropped": 1, "dropped_share": 0.1, "cases/truncated/drop": 1})
    project.behave("preprocess", f"pathlib.Path('reports/data.json').write_text({figures!r})")
    graph = yaml.safe_load((project.root / "dvc.yaml").read_text())
    graph["stages"]["preprocess"]["outs"].append({"reports/data.json": {"cache": False}})
    graph["stages"]["train"]["outs"].append("reports/training_samples.png")
    project.behave("train", TRAINS)
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(graph))
    write_reports(project.root, evaluation(fid=figure(2.9, 2.65, 3.15)), registration("Better by 0.4."))
    # A store that is away keeps the report of the last decision.
    done = run_in(project.root, RUN, prefect_environment | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert all(f"{name} | {name} works" in done.stdout for name in STAGES)
    assert (done.returncode, done.stderr) == (0, "")
    run = last_run(prefect_client, project)
    tasks = task_runs(prefect_client, run.id)
    names = {str(task_run.id): name for name, task_run in tasks.items()}
    edges = {name: {names[str(up.id)] for up in task.task_inputs.get("wait_for", [])} for name, task in tasks.items()}
    assert edges == {stage.name: set(stage.upstream) for stage in dag.read_graph(project.root)}
    assert {task.state.name for task in tasks.values() if task.state} == {"Completed"}

    logs = prefect_client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
    for name in STAGES:
        assert [log for log in logs if log.message == f"{name} works" and log.task_run_id == tasks[name].id]
    assert f"run {run.id}" in [log.message for log in logs]

    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    artifacts = {found.key: str(found.data) for found in prefect_client.read_artifacts(artifact_filter=of_run)}
    assert re.search(r'"stage": "preprocess".*"plan": "runs".*"time-out \(s\)": 1800', artifacts["plan"])
    assert '{"kind": "truncated", "action": "drop", "count": 1}' in artifacts["data-quality"]
    assert "| domain/fid | 2.90 | 2.65 to 3.15 | 2.90 |" in artifacts["result"]
    verdict = "Promoted: Better by 0.4 (digits, version 3)"
    assert artifacts["result"].startswith(f"**{verdict}**")
    assert run.state is not None
    assert run.state.message == verdict
    assert float(artifacts["progress"]) == 100
    content = base64.b64decode(artifacts["samples"].removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (1024, 512)
    told = {found.key: found.description for found in prefect_client.read_artifacts(artifact_filter=of_run)}
    assert str(told["progress"]).startswith("train: ran in ")


def test_a_lost_registry_is_told_and_a_failing_stage_is_tried_again_and_then_stops_the_flow(
    project: ToyProject, prefect_environment: dict[str, str], prefect_client: SyncPrefectClient
) -> None:
    project.behave("extractor", "open('tries', 'a').write('x'); sys.exit('boom')")
    (project.root / "reports").mkdir()
    report = project.root / "reports/registration.json"
    report.write_text("{}")
    done = run_in(project.root, RUN, {k: v for k, v in prefect_environment.items() if k != "MLFLOW_TRACKING_URI"})
    assert done.returncode == 1
    assert "mlflow.db does not exist" in done.stdout, "a registry that is lost takes no part in what is up to date"
    assert not report.exists()
    assert done.stderr == "error: stage extractor failed with exit code 1: boom\n"
    assert (project.root / "tries").read_text() == "xx"
    tasks = task_runs(prefect_client, last_run(prefect_client, project).id)
    assert {name: (task.state_name, task.run_count) for name, task in tasks.items()} == {
        "preprocess": ("Completed", 1),
        "extractor": ("Failed", 2),
    }


def test_a_users_mistake_is_told_once_and_in_one_line(
    project: ToyProject, prefect_environment: dict[str, str], prefect_client: SyncPrefectClient
) -> None:
    project.behave("preprocess", "open('tries', 'a').write('x'); print('error: too few images'); sys.exit(2)")
    done = run_in(project.root, RUN, prefect_environment)
    assert (done.returncode, done.stderr) == (2, "error: stage preprocess: too few images\n")
    assert (project.root / "tries").read_text() == "x"
    run = last_run(prefect_client, project)
    assert run.state_name == "Failed"
    assert not [line for line in log_lines(prefect_client, run.id) if "Traceback" in line]

    (project.root / "params.yaml").write_text("flow: [")
    done = run_in(project.root, RUN, prefect_environment)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*params\.yaml: not valid YAML: .*\n", done.stderr)
    assert last_run(prefect_client, project).id == run.id, "what is found before Prefect starts is no run"


def test_a_store_that_cannot_work_ends_the_first_stage(
    project: ToyProject, prefect_environment: dict[str, str], prefect_client: SyncPrefectClient, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(store, store)
    client.delete_experiment(client.create_experiment("digits"))
    project.behave("preprocess", "time.sleep(300)")
    done = run_in(project.root, RUN, prefect_environment | {"MLFLOW_TRACKING_URI": store})
    assert done.returncode == 2
    assert re.fullmatch(r"error: tracking\.experiment=digits: deleted in .*; restore it with .*\n", done.stderr)
    assert not project.processes()
    assert not (project.root / "preprocess.txt").exists()
    run = last_run(prefect_client, project)
    assert run.state_name == "Failed"
    assert not [line for line in log_lines(prefect_client, run.id) if "Traceback" in line]
