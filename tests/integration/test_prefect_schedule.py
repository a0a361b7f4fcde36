"""A real server and a real worker: schedule, nothing to do, cancel, remove."""

import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from ganlib.errors import UserError
from pipelines.flows.embedded import require_api
from pipelines.flows.schedule import NAME, PULL_STEP, remove_schedule, schedule_pipeline, start_scheduled
from tests.toy_project import REPOSITORY, SLEEP_WITH_CHILD, STAGES, ToyProject, make_project, wait_until

pytestmark = pytest.mark.integration
NOTHING_TO_DO_S = 15
NEVER = "0 3 29 2 *"


def runs_of(client: SyncPrefectClient, deployment_id: UUID) -> list[FlowRun]:
    return client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])))


def wait_for_end(client: SyncPrefectClient, run_id: UUID, timeout_s: float) -> FlowRun:
    def ended() -> bool:
        state = client.read_flow_run(run_id).state
        return state is not None and state.is_final()

    wait_until(ended, timeout_s=timeout_s, what="the flow run ends")
    return client.read_flow_run(run_id)


def test_the_schedule_fires_by_itself_then_finds_nothing_to_do(
    cron_project: ToyProject, prefect_client: SyncPrefectClient
) -> None:
    deployment = prefect_client.read_deployment_by_name(NAME)

    def completed() -> list[FlowRun]:
        return [run for run in runs_of(prefect_client, deployment.id) if run.state and run.state.is_completed()]

    # A minute until it fires, and the run.
    wait_until(completed, timeout_s=300, what="the schedule fires")
    assert completed()[0].auto_scheduled
    assert all((cron_project.root / f"{name}.txt").exists() for name in STAGES)

    schedule_pipeline(cron_project.root, cron=NEVER)
    before = {run.id for run in runs_of(prefect_client, deployment.id)}
    start_scheduled(cron_project.root)  # as `gan watch` does
    (due,) = [run for run in runs_of(prefect_client, deployment.id) if run.id not in before and not run.auto_scheduled]
    assert due.parameters == {"isolated": False, "uncommitted": False}
    again = wait_for_end(prefect_client, due.id, timeout_s=240)
    assert again.state_name == "Completed"
    assert again.state is not None
    assert again.state.message == "nothing to do: all stages are up to date"
    assert again.total_run_time.total_seconds() < NOTHING_TO_DO_S


@pytest.mark.thorough
def test_firings_that_meet_a_run_and_cancelling(cron_project: ToyProject, prefect_client: SyncPrefectClient) -> None:
    schedule_pipeline(cron_project.root, cron=NEVER)
    deployment = prefect_client.read_deployment_by_name(NAME)
    cron_project.behave("preprocess", SLEEP_WITH_CHILD)
    cron_project.change_data("new")
    run = prefect_client.create_flow_run_from_deployment(deployment.id)

    def asleep() -> bool:
        return any(process.name() == "sleep" for process in cron_project.processes())

    wait_until(asleep, timeout_s=240, what="the stage is at work")
    waiting = prefect_client.create_flow_run_from_deployment(deployment.id)

    def waits() -> bool:
        logs = prefect_client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[waiting.id])))
        return any("waiting for process" in log.message for log in logs)

    wait_until(waits, timeout_s=240, what="the next run waits")
    covered = prefect_client.create_flow_run_from_deployment(deployment.id)
    assert wait_for_end(prefect_client, covered.id, timeout_s=240).state_name == "Covered"
    assert prefect_client.read_flow_run(covered.id).name == "digits"
    prefect_client.set_flow_run_state(waiting.id, Cancelling())
    assert wait_for_end(prefect_client, waiting.id, timeout_s=30).state_name == "Cancelled"
    prefect_client.set_flow_run_state(run.id, Cancelling())
    # The worker itself may be in the folder.
    wait_until(lambda: len(cron_project.processes()) <= 1, timeout_s=15, what="all processes but the worker end")
    assert wait_for_end(prefect_client, run.id, timeout_s=30).state_name == "Cancelled"
    cron_project.behave_well()


def test_prefect_yaml_deploys_the_same(
    cron_project: ToyProject, prefect_client: SyncPrefectClient, prefect_environment: dict[str, str]
) -> None:
    schedule_pipeline(cron_project.root, cron="0 3 * * *")
    ours = prefect_client.read_deployment_by_name(NAME)
    theirs_by_default = (REPOSITORY / "prefect.yaml").read_text(encoding="utf-8")
    assert "isolated: true" in theirs_by_default, "as the command line's default, which needs git"
    (cron_project.root / "prefect.yaml").write_text(theirs_by_default.replace("isolated: true", "isolated: false"))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(command, cwd=cron_project.root, env=prefect_environment, check=True, capture_output=True)
    theirs = prefect_client.read_deployment_by_name(NAME)
    assert theirs.id == ours.id
    for deployment in (ours, theirs):
        assert [entry.schedule.model_dump() for entry in deployment.schedules] == [
            {"cron": "0 3 * * *", "timezone": "UTC", "day_or": True}
        ]
        assert deployment.pull_steps == [{PULL_STEP: {"directory": str(cron_project.root)}}]
    for field in ("entrypoint", "work_pool_name", "global_concurrency_limit", "description", "parameters"):
        assert getattr(theirs, field) == getattr(ours, field)
    assert theirs.job_variables["env"].keys() == ours.job_variables["env"].keys()
    assert theirs.job_variables["command"] == ours.job_variables["command"]


def test_another_project_does_not_take_the_schedule_over(
    cron_project: ToyProject, prefect_client: SyncPrefectClient, tmp_path_factory: pytest.TempPathFactory
) -> None:
    schedule_pipeline(cron_project.root, cron=NEVER)
    other = make_project(tmp_path_factory.mktemp("other") / "project")
    for attempt in (lambda: schedule_pipeline(other.root, cron=NEVER), lambda: remove_schedule(other.root)):
        with pytest.raises(UserError, match=str(cron_project.root)):
            attempt()


def test_taking_over_and_removing(
    cron_project: ToyProject,
    prefect_client: SyncPrefectClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    remove_schedule(cron_project.root)
    moved = make_project(tmp_path / "before")
    schedule_pipeline(moved.root, cron=NEVER)
    prefect_client.update_deployment(prefect_client.read_deployment_by_name(NAME).id, DeploymentUpdate(paused=True))
    moved.root.rename(tmp_path / "after")
    schedule_pipeline(tmp_path / "after", cron=NEVER)
    assert "it now belongs to" in capsys.readouterr().out
    assert not prefect_client.read_deployment_by_name(NAME).paused
    shutil.rmtree(tmp_path / "after")
    schedule_pipeline(cron_project.root, cron=NEVER)
    assert "29 Feb 2028" in capsys.readouterr().out
    remove_schedule(cron_project.root)
    with pytest.raises(ObjectNotFound):
        prefect_client.read_deployment_by_name(NAME)
    with pytest.raises(UserError, match="nothing to remove"):
        remove_schedule(cron_project.root)
    with pytest.raises(UserError, match=r"no such deployment on the server; make it with `gan schedule"):
        start_scheduled(cron_project.root)


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("0 3 * *", "not a cron expression"),
        ("61 * * * *", "not a cron expression"),
        ("every night", "not a cron expression"),
        ("", "not a cron expression"),
        ("0 0 3 * * *", "six fields"),
        ("0 0 31 2 *", "never fires"),
    ],
)
def test_an_invalid_cron_expression_is_one_line(cron: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told) as caught:
        schedule_pipeline(tmp_path, cron=cron)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "password", "told"),
    [
        ("{url}/api", "anna:wrong", "denies access.*PREFECT_API_AUTH_STRING"),
        ("{url}/api", None, "denies access.*PREFECT_API_AUTH_STRING"),
        ("{url}", "anna:secret", "ends in /api: http://127.0.0.1:[0-9]*/api"),
    ],
)
def test_a_server_that_does_not_serve_us_is_one_line(
    url: str, password: str | None, told: str, prefect_environment: dict[str, str]
) -> None:
    address = url.format(url=prefect_environment["PREFECT_API_URL"].removesuffix("/api"))
    with (
        temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: password}),
        pytest.raises(UserError, match=told) as caught,
    ):
        require_api(address)
    assert "\n" not in str(caught.value)


def test_an_unknown_time_zone_and_a_missing_server_are_one_line(cron_project: ToyProject) -> None:
    with pytest.raises(UserError, match="--timezone Mars/Base: unknown"):
        schedule_pipeline(cron_project.root, cron=NEVER, timezone="Mars/Base")
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(
            UserError, match=r"the Prefect server does not respond .*`prefect --no-prompt server start --port 9`"
        ),
    ):
        schedule_pipeline(cron_project.root, cron=NEVER)
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(UserError, match="PREFECT_API_URL: not set"):
        schedule_pipeline(cron_project.root, cron=NEVER)


def test_a_mistake_in_the_project_is_told_before_anything_is_scheduled(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project.root / "data/raw/digits.zip").unlink()
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(UserError, match=r"data\.source=data/raw/digits\.zip: no such file"),
    ):
        schedule_pipeline(project.root, cron=NEVER)
