"""MLflow's pages on this project's runs, and addresses in them that answer the questions people come with."""

import json
import os
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import urlopen

from ganlib.config import RunConfig, load_config
from pipelines import paths
from pipelines.environment import quiet_environment
from pipelines.graph import supervisor
from pipelines.registry.champion import CHALLENGER, CHAMPION
from pipelines.tracking.experiment import VIEW
from pipelines.tracking.moving import LOCAL_ARTIFACTS
from pipelines.tracking.store import check_store, connect_to_read, reachable, redact, store_uri

if TYPE_CHECKING:
    import subprocess

    from mlflow import MlflowClient

STARTS_WITHIN_S = 120.0
_TRAINING = "workflowType=machine_learning"  # otherwise MLflow begins with its pages for language models


def serve_ui(port: int) -> int:
    """Serve until interrupted, on 127.0.0.1; returns the exit code. Runs on a server are shown by its own pages.

    However this process ends, the server ends, too. In a session with screen a browser is opened.

    Raises:
        UserError: the store is not there, cannot be opened or does not answer.
    """
    uri = store_uri()
    if urlsplit(uri).scheme in {"http", "https"}:
        check_store()
        _tell(redact(uri))
        _open(uri)
        return 0
    with reachable():
        connect_to_read()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--artifacts-destination", LOCAL_ARTIFACTS]
    environment = {**os.environ, **quiet_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    address = f"http://127.0.0.1:{port}"
    _tell(address, "Ctrl-C ends it")
    with supervisor.signals_unwind():
        server = supervisor.start(command, cwd=Path.cwd(), env=environment, stdout=sys.stdout.fileno())
        try:
            if _answers(server, address):
                _open(address)
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            supervisor.stop(server)


def _tell(address: str, end: str = "") -> None:
    sys.stdout.write(f"MLflow: {address}{f' ({end})' if end else ''}\n")
    for what, link in links(address):
        sys.stdout.write(f"  {what}: {link}\n")
    sys.stdout.flush()


def _answers(server: "subprocess.Popen[bytes]", address: str) -> bool:
    """Wait for the server; False where it has ended or takes too long."""
    until = time.monotonic() + STARTS_WITHIN_S
    while server.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"{address}/health", timeout=5):
                return True
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    return False


def _open(address: str) -> None:
    """In a browser, where somebody is there to see it: a terminal in a session with screen."""
    screen = sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.stdout.isatty() and screen:
        webbrowser.open(next((link for _, link in links(address)), address))


def links(address: str) -> list[tuple[str, str]]:
    """(what it answers, address in MLflow's pages) for what is there of the project's experiment and model."""
    if not Path(paths.PARAMS).exists():
        return []
    config = load_config(paths.PARAMS)
    with reachable():
        client = connect_to_read()
        return [(what, f"{address}/#/{page}") for what, page in _pages(client, config)]


def _pages(client: "MlflowClient", config: RunConfig) -> Iterator[tuple[str, str]]:
    found = client.get_experiment_by_name(config.tracking.experiment)
    if found is not None:
        view = f"experiments/{found.experiment_id}/runs?{_TRAINING}&viewStateShareKey={VIEW}"
        yield "which run is best, as a list", view
        yield "which run is best, as charts with samples", f"{view}&compareRunsMode=CHART"
    name = config.register_.model_name
    models = client.search_registered_models(f"name = '{name}'")
    aliases = dict(models[0].aliases) if models else {}
    runs = {
        alias: client.get_model_version(name, aliases[alias]).run_id
        for alias in (CHAMPION, CHALLENGER)
        if alias in aliases
    }
    if found is not None and len(set(filter(None, runs.values()))) > 1:
        query = {"runs": json.dumps(list(runs.values())), "experiments": json.dumps([found.experiment_id])}
        yield "champion and challenger side by side", f"compare-runs?{urlencode(query, quote_via=quote)}&{_TRAINING}"
    if CHAMPION in aliases:
        yield "the champion", f"models/{quote(name, safe='')}/versions/{aliases[CHAMPION]}?{_TRAINING}"
