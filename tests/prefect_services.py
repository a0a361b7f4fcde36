"""A real Prefect server and a real worker, as somebody runs them beside a project."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from pipelines.environment import quiet_environment
from tests.mlflow_server import free_port
from tests.toy_project import REPOSITORY, SCHEDULE, run_in, wait_until

POOL = "ganlib"
REMOVE = "from pathlib import Path; from pipelines.flows.schedule import remove_schedule; remove_schedule(Path.cwd())"


def default_signals() -> None:
    """In a child: a shell in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Services:
    """The two, which may be killed and revived at the same address."""

    def __init__(self, home: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}/api"
        self._home = home
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_", "GANLIB_"))}
        self.environment = {
            **inherited,
            **quiet_environment(),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_UI_ENABLED": "false",
            # Look for due runs more often than in real life.
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": str(REPOSITORY),
        }

    def __enter__(self) -> Self:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.worker_processes(), *self.server_processes()):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._running.values():
            started.wait()

    def revive(self) -> None:
        """Start what does not run, or not any more, and wait until the server answers."""
        self._keep("server")
        wait_until(self._healthy, timeout_s=180, what="the Prefect server answers")
        self._keep("worker")

    def _keep(self, name: str) -> None:
        before = self._running.get(name)
        if before is not None and before.poll() is None:
            return
        port = self.url.removesuffix("/api").rpartition(":")[2]
        arguments = {
            "server": ["server", "start", "--host", "127.0.0.1", "--port", port],
            "worker": ["worker", "start", "--pool", POOL, "--type", "process", "--name", "nightly"],
        }[name]
        with (self._home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=self._home,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=default_signals,
                start_new_session=True,
            )

    def _healthy(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=2).status_code == httpx.codes.OK
        return False

    def worker_processes(self) -> list[psutil.Process]:
        return self._processes("worker")

    def server_processes(self) -> list[psutil.Process]:
        return self._processes("server")

    def _processes(self, name: str) -> list[psutil.Process]:
        started = self._running.get(name)
        return [psutil.Process(started.pid)] if started is not None and started.poll() is None else []

    def schedule(self, project: Path, *, cron: str) -> None:
        done = run_in(project, SCHEDULE.format(cron=cron), self.environment)
        assert done.returncode == 0, done.stderr

    def remove_schedule(self, project: Path) -> None:
        done = run_in(project, REMOVE, self.environment)
        assert done.returncode == 0, done.stderr

    def wait_for_run(self, *states: str, since: float, timeout_s: float) -> None:
        """Until a run is in one of these states that came to it since then; one that was covered does not count.

        It is PENDING when the worker has taken it up: how long its process takes to import our code is a matter of the
        machine.
        """

        def there() -> bool:
            for name in self._running:  # as systemd does, or a person: some take their time to end
                self._keep(name)
            found: list[dict[str, Any]] = []
            with suppress(httpx.TransportError):  # a busy machine
                found = httpx.post(f"{self.url}/flow_runs/filter", json={}, timeout=30).json()
            return any(
                run["state_type"] in states
                and run["state_name"] != "Covered"
                and datetime.fromisoformat(run["start_time"] or run["state"]["timestamp"]).timestamp() >= since
                for run in found
            )

        wait_until(there, timeout_s=timeout_s, what=f"a run is {' or '.join(states)}")
