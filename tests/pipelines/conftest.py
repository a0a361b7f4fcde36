"""A project folder with a prepared SQLite store, and a real MLflow server."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import environment
from pipelines.tracking.journal import Patience
from tests.mlflow_server import MlflowServer

IMPATIENT = Patience(gather_s=0.05, first_pause_s=0.3, longest_pause_s=0.6, close_s=20)


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
