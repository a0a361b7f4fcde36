import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.tracking.journal import Patience
from pipelines.tracking.runs import RunLog, deliver_pending
from pipelines.tracking.store import check_store
from tests.mlflow_server import MlflowServer, free_port, wait_until
from tests.tracking_runs import PIXELS, client, run_of, runs_of, spooled, steps, training

pytestmark = pytest.mark.integration


class Watch:
    """Logs steps and remembers the slowest call."""

    def __init__(self, log: RunLog) -> None:
        self.log, self.slowest_s, self.step = log, 0.0, 0

    def __call__(self, count: int) -> None:
        for _ in range(count):
            self.step += 1
            started = time.perf_counter()
            self.log.metrics({"loss/critic": float(self.step), "loss/generator": 0.0}, self.step)
            if self.step % 50 == 0:
                self.log.picture("samples", PIXELS, self.step)
            self.slowest_s = max(self.slowest_s, time.perf_counter() - started)
            time.sleep(0.001)


def test_server_killed_in_mid_training_and_back(server: MlflowServer) -> None:
    with training("killed") as log:
        watch = Watch(log)
        watch(50)
        wait_until(lambda: any(map(steps, runs_of("killed"))), "the first steps arrive")
        server.kill()
        try:
            watch(400)
            time.sleep(0.5)
            watch(400)
        finally:
            server.start()
        watch(50)
    assert watch.slowest_s < 0.05
    wait_until(lambda: deliver_pending() or not spooled(), "everything is delivered")
    run = run_of("killed")
    assert run.info.status == "FINISHED"
    assert steps(run) == list(range(1, 901))
    assert steps(run, "loss/generator") == list(range(1, 901))
    names = [Path(item.path).name for item in client().list_artifacts(run.info.run_id, "images")]
    assert {int(name.split("+")[2]) for name in names if name.endswith(".png")} == set(range(50, 901, 50))


def test_frozen_server_delays_nothing(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    client()  # the import of mlflow is not what is measured
    server.freeze()
    try:
        started = time.monotonic()
        with training("frozen") as log:
            watch = Watch(log)
            watch(500)
        took_s = time.monotonic() - started
        with pytest.raises(UserError, match=r"no answer within 1 s; start it again with `mlflow server"):
            check_store()
    finally:
        server.thaw()
    assert watch.slowest_s < 0.05
    assert took_s < 5
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    deliver_pending()
    assert steps(run_of("frozen")) == list(range(1, 501))


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "You are not authenticated. Please see …", "does not know this account; set MLFLOW_TRACKING_USERNAME"),
        (
            403,
            "Permission denied",
            "does not permit this to this account; ask its administrator for EDIT on experiment",
        ),
    ],
)
def test_a_server_that_refuses_an_account_is_told_in_one_line(
    status: int, body: str, told: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the words of MLflow's basic authentication."""

    class Refusal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as refusing:
        threading.Thread(target=refusing.serve_forever).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{refusing.server_port}")
        try:
            with pytest.raises(UserError, match=told) as caught:
                check_store()
        finally:
            refusing.shutdown()
    assert "\n" not in str(caught.value)


CHILD = """
    import time
    from pipelines.tracking.experiment import Experiment
    from pipelines.tracking.runs import training_run
    TESTS = Experiment("tests", metric="domain/fid", greater_is_better=False, halfway_images=64)
    with training_run(experiment=TESTS, run_key="child", run_name="child", params={}, tags={}, dataset=None) as log:
        for step in range(100):
            log.metrics({"loss/critic": 1.0}, step)
        print("logged", flush=True)
        time.sleep(60)
"""


def test_killed_training_is_delivered_at_the_next_contact(
    server: MlflowServer, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD)],
        env={**os.environ, "MLFLOW_TRACKING_URI": server.uri, "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "logged\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert len(spooled()) == 1
    with training("next", patience=Patience()) as log:
        log.metrics({"loss/critic": 1.0}, 1)
    assert spooled() == []
    run = run_of("child")
    assert steps(run) == list(range(100))
    assert run.info.status == "KILLED"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead)
    with pytest.raises(UserError, match="connection refused"):
        deliver_pending()


def test_damaged_journals_stop_neither_a_training_nor_the_delivery(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    for key in ("garbage", "fields", "sound"):
        with training(key) as log:
            log.metrics({"loss/critic": 0.5}, 64)
    garbage, fields, sound = (folder / "ops.jsonl" for folder in sorted(spooled()))
    for path in (garbage, fields, sound):
        path.write_text(path.read_text().replace(os.environ["MLFLOW_TRACKING_URI"], "mlflow.db"))
    garbage.write_bytes(b"\0" * 100 + b"\n" + garbage.read_bytes())
    opening, rest = fields.read_text().split("\n", 1)
    known = {name: value for name, value in json.loads(opening).items() if name in {"op", "store", "by", "time_ms"}}
    fields.write_text(json.dumps(known) + "\n" + rest)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    caplog.clear()
    deliver_pending()
    assert [" is damaged (" in message for message in caplog.messages] == [True, True]
    assert steps(run_of("sound")) == [64]
    with training("next") as log:
        log.metrics({"loss/critic": 0.5}, 64)
    assert steps(run_of("next")) == [64]
    assert {path.suffix for path in spooled()} == {".damaged"}
    assert len(caplog.messages) == 2
