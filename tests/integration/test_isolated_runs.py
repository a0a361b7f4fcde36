"""Isolated runs by a real server and worker: cancelled, gone on with, done; the checkout stays as it is."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from ganlib.errors import UserError
from pipelines import paths
from pipelines.environment import quiet_environment
from pipelines.flows.pipeline import pipeline
from pipelines.flows.schedule import COMMAND, ENTRYPOINT, PULL_STEP, WORK_POOL, schedule_pipeline
from tests.toy_project import STAGES, ToyProject, commit_all, make_project, run_in, wait_until

# The cron schedule of another test comes round while these run.
pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.usefixtures("cron_project")]
NOTHING_TO_DO_S = 15
UNTIL_RELEASED = "print('asleep', flush=True)\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.1)"
ISOLATED = (
    "import sys; from pathlib import Path; from pipelines.flows.run import run_pipeline; "
    "from pipelines.graph.workspace import Request; "
    "sys.exit(run_pipeline(Path.cwd(), isolation=Request(overrides=('train.seed={seed}',), name='seed-{seed}')))"
)


@pytest.fixture
def project(tmp_path: Path) -> ToyProject:
    made = make_project(tmp_path / "project", no_scm=False)
    made.behave("train", UNTIL_RELEASED.format(str(tmp_path / "release")))
    commit_all(made)
    return made


def content(root: Path) -> dict[str, str]:
    """Of every file of the checkout, and of git's index."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in {".git", ".ganlib", "cache", "tmp"}]
        for file in (Path(folder, name) for name in names):
            found[str(file.relative_to(root))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found | {"index": hashlib.sha256((root / ".git/index").read_bytes()).hexdigest()}


def git(project: ToyProject, *arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=project.root, text=True)


def deploy(client: SyncPrefectClient, project: ToyProject) -> UUID:
    """As `gan schedule` does, under another name."""
    return client.create_deployment(
        flow_id=client.create_flow(pipeline),
        name="isolated",
        entrypoint=ENTRYPOINT,
        pull_steps=[{PULL_STEP: {"directory": str(project.root)}}],
        parameters={"isolated": True},
        work_pool_name=WORK_POOL,
        job_variables={"command": COMMAND, "env": quiet_environment()},
    )


def wait_for_end(client: SyncPrefectClient, run_id: UUID, timeout_s: float) -> FlowRun:
    def ended() -> bool:
        state = client.read_flow_run(run_id).state
        return state is not None and state.is_final()

    wait_until(ended, timeout_s=timeout_s, what="the flow run ends")
    return client.read_flow_run(run_id)


def test_cancelled_gone_on_with_and_done_beside_a_person_at_work(
    project: ToyProject, prefect_client: SyncPrefectClient, tmp_path: Path
) -> None:
    deployment = deploy(prefect_client, project)
    run = prefect_client.create_flow_run_from_deployment(deployment)

    def asleep() -> list[Path]:
        return [Path(each.cwd()) for each in project.processes() if each.cmdline()[1:3] == ["stage.py", "train"]]

    wait_until(asleep, timeout_s=240, what="the training is at work")
    (worktree,) = asleep()
    assert worktree.parent == project.root / paths.RUNS
    project.change_data("edited")
    (project.root / "params.yaml").write_text("half: [")
    person = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "preprocess"], cwd=project.root, capture_output=True, text=True
    )
    assert "params.yaml" in person.stderr, "what a person does in the folder is between that person and DVC"
    before = content(project.root)

    started = time.monotonic()
    prefect_client.set_flow_run_state(run.id, Cancelling())
    wait_until(lambda: not project.processes(), timeout_s=15, what="all processes end")
    assert time.monotonic() - started < 15
    assert wait_for_end(prefect_client, run.id, timeout_s=60).state_name == "Cancelled"
    assert worktree.is_dir()

    (tmp_path / "release").touch()
    again = prefect_client.create_flow_run_from_deployment(deployment)
    assert wait_for_end(prefect_client, again.id, timeout_s=240).state_name == "Completed"
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[again.id]))
    artifacts = {found.key: str(found.data) for found in prefect_client.read_artifacts(artifact_filter=of_run)}
    assert '"why": "it has not run yet"' in artifacts["plan"]
    assert "| preprocess | unchanged |" in artifacts["result"]
    assert not worktree.exists()
    branch = f"runs/{worktree.name}"
    outcome = git(project, "show", f"{branch}:dvc.lock")
    assert all(f"  {name}:" in outcome for name in STAGES)

    nothing = prefect_client.create_flow_run_from_deployment(deployment)
    nothing = wait_for_end(prefect_client, nothing.id, timeout_s=240)
    assert nothing.state_name == "Completed"
    assert nothing.total_run_time.total_seconds() < NOTHING_TO_DO_S
    assert git(project, "show", f"{branch}:dvc.lock") == outcome
    assert git(project, "rev-list", "--count", f"HEAD..{branch}").strip() == "1"
    assert content(project.root) == before


def test_several_at_once_on_one_cache(project: ToyProject, prefect_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "release").touch()
    seeds = range(1, 9)
    runs = [
        subprocess.Popen([sys.executable, "-c", ISOLATED.format(seed=seed)], cwd=project.root, env=prefect_environment)
        for seed in seeds
    ]
    assert [run.wait(timeout=600) for run in runs] == [0] * len(runs)
    for seed in seeds:
        assert f"seed: {seed}\n" in git(project, "show", f"runs/seed-{seed}:dvc.lock")
    cache = project.root / ".dvc/cache/files/md5"
    objects = [path for path in cache.rglob("*") if path.is_file()]
    assert len(objects) >= len(STAGES)
    assert all(path.parent.name + path.name == hashlib.md5(path.read_bytes()).hexdigest() for path in objects)
    assert git(project, "worktree", "list").count("\n") == 1
    assert run_in(project.root, ISOLATED.format(seed=1), prefect_environment).returncode == 0


def test_a_schedule_needs_a_commit_or_the_folder_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_project(tmp_path / "project")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(UserError, match=r"git tells of no commit there.*--in-place"):
        schedule_pipeline(made.root, cron="0 3 29 2 *", isolated=True)
