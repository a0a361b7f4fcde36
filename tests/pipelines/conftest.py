"""A project folder with a prepared SQLite store, real MLflow servers, and small generators."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pipelines import environment
from pipelines.journal import Patience

IMPATIENT = Patience(gather_s=0.05, first_pause_s=0.3, longest_pause_s=0.6, close_s=20)
LAST_LINE_S = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """A real `mlflow server` that can be stopped, hung and started again at the same address."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._database = folder / "server.db"
        shutil.copy2(database, self._database)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.uri.rpartition(":")[2],
            "--backend-store-uri", f"sqlite:///{self._database}",
            "--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1",
        ]  # fmt: skip
        environ = {**os.environ, **environment.quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environ.pop("MLFLOW_TRACKING_URI", None)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.uri}/health", timeout=1).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
        raise AssertionError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Connections are accepted and nothing is ever answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with its tables made: copying it saves seconds."""
    folder = tmp_path_factory.mktemp("database")
    code = "import mlflow; mlflow.MlflowClient('sqlite:///store.db').search_experiments(max_results=1)"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return folder / "store.db"


@pytest.fixture(scope="session")
def session_server(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"), database)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def project(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the working directory, with the default store."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy2(database, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "PREFECT__FLOW_RUN_ID", "GANLIB_FLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    environment.apply()
    return folder


@pytest.fixture
def server(session_server: MlflowServer, project: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowServer:
    """The running server, as the project's store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", session_server.uri)
    return session_server


@pytest.fixture
def impatient() -> Patience:
    return IMPATIENT


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LAST_LINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)
