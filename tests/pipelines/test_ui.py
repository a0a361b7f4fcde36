"""`gan ui` as a process, with a real MLflow server under it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import psutil
import pytest
import yaml

from ganlib.packaging import generator_sha256
from pipelines.tracking import store
from pipelines.ui import links
from tests.configs import tiny_values
from tests.mlflow_server import free_port
from tests.registered import make_generator, submit
from tests.toy_project import processes_in, wait_until
from tests.tracking_runs import training

pytestmark = pytest.mark.integration
# A shell in the background would have its children ignore Ctrl-C.
CODE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pipelines.cli import main; main()"


def start(project: Path, port: int) -> subprocess.Popen[bytes]:
    with (project / "output.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, "ui", "--port", str(port)],
            cwd=project,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def left_behind(project: Path) -> Iterator[list[psutil.Process]]:
    """What ends with the test even where `gan ui` does not see to it."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.thorough),
        (signal.SIGKILL, -9),
    ],
)
def test_the_server_ends_with_its_command(
    number: signal.Signals, exit_code: int, project: Path, left_behind: list[psutil.Process]
) -> None:
    port = free_port()
    ui = start(project, port)
    log = project / "output.log"
    wait_until(lambda: answers(port) or ui.poll() is not None, timeout_s=240, what="the pages answer")
    left_behind += processes_in(project)
    assert len(left_behind) >= 3, log.read_text()
    if number == signal.SIGINT:
        os.killpg(ui.pid, number)  # as a terminal does
    else:
        ui.send_signal(number)
    assert ui.wait(timeout=30) == exit_code
    wait_until(lambda: not processes_in(project), timeout_s=15, what="the server ends")
    assert not answers(port)
    assert "Traceback" not in log.read_text()


def test_addresses_of_what_is_there(project: Path) -> None:
    """The experiment's saved view, both aliases side by side, the champion; nothing before there is anything."""
    values = tiny_values({"tracking.experiment": "digits", "register.model_name": "digits"})
    (project / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    address = "http://127.0.0.1:5000"
    assert links(address) == []
    generators = [make_generator(project / str(seed), seed) for seed in (1, 2)]
    for number, folder in enumerate(generators):
        with training(f"k{number}", "digits") as log:
            log.made(generator_sha256(folder))
        submit(folder, 3.0 + number)
    client = store.connect()
    experiment_id = client.get_experiment_by_name("digits").experiment_id
    runs = [client.get_model_version("digits", version).run_id for version in ("1", "2")]
    shown, charts, compared, champion = (link.removeprefix(f"{address}/#/") for _, link in links(address))
    assert shown == f"experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=gan"
    assert charts == f"{shown}&compareRunsMode=CHART"
    page, _, query = compared.partition("?")
    assert (page, query.partition("=")[0]) == ("compare-runs", "runs")  # MLflow takes the first for the runs
    assert {key: json.loads(*value) for key, value in parse_qs(query).items() if key != "workflowType"} == {
        "runs": runs, "experiments": [experiment_id],
    }  # fmt: skip
    assert champion == "models/digits/versions/1?workflowType=machine_learning"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (None, "restore a backup of mlflow.db"),
        ("foo:bar", "MLFLOW_TRACKING_URI=foo:bar: "),
        ("http://[::1", "MLFLOW_TRACKING_URI=http://[::1: not an address (Invalid IPv6 URL); correct or unset it"),
        ("postgresql://u:geheim@h:x/db", "MLFLOW_TRACKING_URI=postgresql://***@h:x/db: not an address"),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line(
    uri: str | None, told: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if uri is None:
        (project / "mlflow.db").write_text("not a database " * 100)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    ui = start(project, free_port())
    assert ui.wait(timeout=60) == 2
    said = (project / "output.log").read_text()
    assert said.startswith("error: ")
    assert told in said
    assert said.count("\n") == 1
