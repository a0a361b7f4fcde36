"""A real MLflow server for tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from pipelines import environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """A real `mlflow server` that can be stopped, hung and started again at the same address."""

    def __init__(self, folder: Path, database: Path, *, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.uri = f"http://{host}:{free_port()}"
        self.artifacts = ["--artifacts-destination", str(folder / "artifacts")]
        self._database = folder / "server.db"
        shutil.copy2(database, self._database)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", str(urlsplit(self.uri).hostname),
            "--port", str(urlsplit(self.uri).port), "--allowed-hosts", "*", "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self._database}", *self.artifacts,
        ]  # fmt: skip
        environ = {**os.environ, **environment.quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environ.pop("MLFLOW_TRACKING_URI", None)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + 240
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


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)
