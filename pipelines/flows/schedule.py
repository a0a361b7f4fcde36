"""`gan schedule`: the flow as a deployment that fires by itself on a Prefect server."""

import asyncio
import os
import sys
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from ganlib.errors import UserError
from pipelines.environment import quiet_environment
from pipelines.flows.embedded import require_api, told_in_one_line
from pipelines.flows.pipeline import pipeline
from pipelines.preflight import check_project
from pipelines.tracking.runs import commit_of

WORK_POOL = "ganlib"
DEPLOYMENT = "scheduled"
NAME = f"{pipeline.name}/{DEPLOYMENT}"
ENTRYPOINT = "pipelines.flows.pipeline.pipeline"
# By itself a process worker starts Prefect twice for a run: for the pull steps, and for the flow.
COMMAND = "python -m prefect.engine"
PULL_STEP = "prefect.deployments.steps.set_working_directory"


def schedule_pipeline(project: Path, *, cron: str, timezone: str = "UTC", isolated: bool = False) -> None:
    """Let the configured server run a project's flow at the times of a cron expression.

    An isolated run works at the commit that is checked out, in a worktree of its own; otherwise the project's folder is
    run in as it is.

    Makes the work pool and the deployment where they are missing and replaces
    the schedule where there is one. One run at a time: a firing that meets a
    run at work waits for it, and one that meets another one waiting ends as covered.

    Raises:
        UserError: no server, no such time zone, no valid cron expression, a
            mistake in the project, or the server already has another
            project's schedule.
    """
    schedule = _cron(cron, timezone)
    firings = _firings(schedule)
    project = project.resolve()
    check_project(project)
    if isolated:
        check_commit(project)
    with _server() as client:
        _ensure_work_pool(client)
        _find(client, project)
        client.create_deployment(
            flow_id=client.create_flow(pipeline),
            name=DEPLOYMENT,
            description=pipeline.description,
            entrypoint=ENTRYPOINT,
            pull_steps=[{PULL_STEP: {"directory": str(project)}}],
            parameter_openapi_schema=parameter_schema(pipeline).model_dump_for_openapi(),
            parameters={"isolated": isolated},
            enforce_parameter_schema=True,
            schedules=[DeploymentScheduleCreate(schedule=schedule, active=True)],
            paused=False,
            work_pool_name=WORK_POOL,
            job_variables={"command": COMMAND, "env": _job_environment()},
        )
    _print(f"{project} runs at '{cron}' ({timezone}) as the deployment {NAME}.")
    if isolated:
        _print("Each run takes what is committed, in a worktree of its own; --in-place takes the folder as it is.")
    _print(f"Next runs: {' and '.join(f'{each.astimezone():%a %d %b %Y %H:%M %Z}' for each in firings)}.")
    _print(f"Keep a worker running in this environment: prefect worker start --pool {WORK_POOL}")
    _print(f"To run it now: prefect deployment run {NAME}")


def remove_schedule(project: Path) -> None:
    """Delete the deployment with its schedule; the history stays.

    Raises:
        UserError: no server, or nothing is scheduled for this project.
    """
    project = project.resolve()
    with _server() as client:
        deployment = _find(client, project)
        if deployment is None:
            raise UserError(f"{NAME}: no such deployment on the server; nothing to remove")
        client.delete_deployment(deployment.id)
    _print(f"{NAME} is removed; {project} is no longer scheduled.")


def find_scheduled(project: Path) -> None:
    """See that there is a deployment to start.

    Raises:
        UserError: no server, or no deployment of this project.
    """
    with _server() as client:
        _deployed(client, project.resolve())


def start_scheduled(project: Path) -> str:
    """Have the deployment run now, with the changes of the folder that are not committed; the name of the run.

    Raises:
        UserError: no server, or no deployment of this project.
    """
    with _server() as client:
        deployment = _deployed(client, project.resolve())
        parameters = {"uncommitted": bool(deployment.parameters.get("isolated"))}
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).name


def _deployed(client: SyncPrefectClient, project: Path) -> DeploymentResponse:
    deployment = _find(client, project)
    if deployment is None:
        raise UserError(f"{NAME}: no such deployment on the server; make it with `gan schedule --cron '0 3 * * *'`")
    return deployment


def check_commit(project: Path) -> None:
    """See that there is a commit to run on.

    Raises:
        UserError: there is none.
    """
    if commit_of(project) is None:
        raise UserError(
            f"{project}: git tells of no commit there, and an isolated run works on one; commit the project, or give "
            "--in-place to `gan schedule` to run the folder as it is"
        )


def _find(client: SyncPrefectClient, project: Path) -> DeploymentResponse | None:
    """The deployment, if there is one; another project's is not ours to change."""
    try:
        deployment = client.read_deployment_by_name(NAME)
    except ObjectNotFound:
        return None
    folders = [step[PULL_STEP]["directory"] for step in deployment.pull_steps or [] if PULL_STEP in step]
    if folders == [str(project)]:
        return deployment
    if folders and not any(Path(folder).exists() for folder in folders):
        _print(f"{NAME}: belonged to {folders[0]}, which no longer exists; it now belongs to {project}.")
    else:
        raise UserError(
            f"{NAME}: on this server it is the schedule of {folders[0] if folders else 'an unknown folder'}, not of "
            f"{project}; start another server for this project (PREFECT_API_URL), or end that schedule with "
            f"`prefect deployment delete {NAME}` if nobody needs it"
        )
    return deployment


def _firings(schedule: CronSchedule) -> list[datetime]:
    """The next two times."""
    from prefect.server.schemas.schedules import CronSchedule as ServerSchedule

    try:
        return list(asyncio.run(ServerSchedule(cron=schedule.cron, timezone=schedule.timezone).get_dates(2)))
    except ValueError:
        raise UserError(f"--cron '{schedule.cron}': never fires; expected a date that exists") from None


def _cron(expression: str, timezone: str) -> CronSchedule:
    if timezone not in zoneinfo.available_timezones():
        raise UserError(f"--timezone {timezone}: unknown; expected a name such as UTC or Europe/Berlin")
    if len(expression.split()) == 6:
        raise UserError(
            f"--cron '{expression}': found six fields, expected five (there are no seconds): minute, hour, day of the "
            "month, month and day of the week"
        )
    try:
        return CronSchedule(cron=expression, timezone=timezone)
    except ValidationError:
        raise UserError(
            f"--cron '{expression}': not a cron expression; expected minute, hour, day of the month, month and "
            "day of the week, such as '0 3 * * *' for every night at three"
        ) from None


@contextmanager
def _server() -> Iterator[SyncPrefectClient]:
    url = PREFECT_API_URL.value()
    if not url:
        raise UserError(
            "PREFECT_API_URL: not set, and a schedule needs a Prefect server that keeps running; start one with "
            "`prefect --no-prompt server start` and set PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    require_api(url)
    with told_in_one_line(), get_client(sync_client=True) as client:
        yield client


def _ensure_work_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
    except ObjectAlreadyExists:  # made earlier, or at this moment by a worker
        pool = client.read_work_pool(WORK_POOL)
        if pool.type != "process":
            raise UserError(
                f"work pool {WORK_POOL}: found type {pool.type}, expected process; start another server for this "
                f"project (PREFECT_API_URL), or `prefect work-pool delete {WORK_POOL}` if nobody needs that pool"
            ) from None


def _job_environment() -> dict[str, str]:
    """What a run needs on top of its worker's environment."""
    here = str(Path(sys.executable).parent)
    return quiet_environment() | {"PATH": os.pathsep.join([here, os.environ.get("PATH", os.defpath)])}


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
