import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from pipelines.environment import quiet_environment
from pipelines.graph import supervisor
from tests.toy_project import REPOSITORY, SCHEDULE, ToyProject, make_project, run_in, wait_until

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


PASSWORD = "anna:secret"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="package")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real Prefect server; gives the environment in which children find it."""
    home = tmp_path_factory.mktemp("prefect")
    port = _free_port()
    environment = {
        **os.environ,
        **quiet_environment(),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "PREFECT_API_AUTH_STRING": PASSWORD,
        # Look for due runs more often than in real life.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = supervisor.start(command, cwd=home, env=environment, stdout=log)
        try:
            wait_until(lambda: _answers(environment["PREFECT_API_URL"]), timeout_s=180, what="the Prefect server")
            yield environment
        finally:
            supervisor.stop(server)


@pytest.fixture(scope="package")
def prefect_worker(prefect_environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker of the process pool `ganlib`."""
    home = Path(prefect_environment["PREFECT_HOME"])
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "ganlib", "--type", "process"]
    with (home / "worker.log").open("wb") as log:
        worker = supervisor.start(command, cwd=home, env=prefect_environment, stdout=log)
        try:
            yield worker
        finally:
            supervisor.stop(worker)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def prefect_client(prefect_environment: dict[str, str]) -> Iterator["SyncPrefectClient"]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(
            {PREFECT_API_URL: prefect_environment["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: PASSWORD}
        ),
        get_client(sync_client=True) as client,
    ):
        yield client


@pytest.fixture(scope="package")
def cron_project(
    prefect_environment: dict[str, str],
    prefect_worker: subprocess.Popen[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> ToyProject:
    """A project scheduled for the next full minute; tests that ask for it early need not wait for it later."""
    project = make_project(tmp_path_factory.mktemp("cron") / "project")
    cron = time.strftime("%M %H * * *", time.gmtime(time.time() + 75))
    done = run_in(project.root, SCHEDULE.format(cron=cron), prefect_environment)
    assert done.returncode == 0, done.stderr
    return project
