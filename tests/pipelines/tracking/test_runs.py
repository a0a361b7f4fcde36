import base64
import json
import math
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganlib.errors import UserError
from ganlib.events import Notice, Picture, Progress, Scalars
from pipelines.tracking import delivery, store
from pipelines.tracking.descriptions import sealed
from pipelines.tracking.experiment import Experiment, view
from pipelines.tracking.runs import GROUP_VARIABLE, attach_run, deliver_pending
from pipelines.tracking.store import check_store
from pipelines.tracking.system_metrics import logged_system_metrics
from tests.configs import ROOT
from tests.mlflow_server import MlflowServer, free_port, wait_until
from tests.tracking_runs import DATASET, PIXELS, client, experiment, run_of, spooled, steps, training

pytestmark = pytest.mark.integration


def test_whole_run_in_the_default_store(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "flow-7")
    curve = project / "curves.csv"
    curve.write_text("step,loss\n")
    with training("k1") as log:
        log.sink(Scalars(64, {"loss/critic": 0.5, "loss/generator": 1.0, "gradient_norm/critic": 9.0}))
        log.sink(Scalars(64, {"gradient_norm/generator": 9.0}))
        log.sink(Picture(64, "samples", PIXELS))
        log.picture("samples/real", PIXELS[:, :, :1], 0)
        log.sink(Progress(64, 128, 10.0))
        log.sink(Notice("nothing to track"))
        log.metrics({"loss/critic": 0.25}, 128)
        log.artifact(curve, "reports")
        curve.write_text("changed after it was logged")
        log.made("abc")
    run = run_of("k1")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "a run"
    assert run.data.params == {"network.family": "dcgan", "network.widths": "[1, 2]"}
    assert run.data.tags["data_sha256"] == "d1"
    assert run.data.tags["generator_sha256"] == "abc"
    assert run.data.tags["prefect.flow_run_id"] == "flow-7"
    assert run.data.metrics == {"loss/critic": 0.25, "loss/generator": 1.0}
    assert steps(run) == [64, 128]
    (dataset,) = [each.dataset for each in run.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("digits", DATASET.digest[:36])
    names = [Path(item.path).name for item in client().list_artifacts(run.info.run_id, "images")]
    assert sum(name.startswith("samples~generated+step+64") and name.endswith(".png") for name in names) == 1
    assert sum(name.startswith("samples~real+step+0") and name.endswith(".png") for name in names) == 1
    assert run.info.artifact_uri.startswith((project / "mlruns").as_uri())
    kept = client().download_artifacts(run.info.run_id, "reports/curves.csv", str(project))
    assert Path(kept).read_text() == "step,loss\n"
    assert spooled() == []


def test_a_training_taken_up_again_continues_its_run(project: Path) -> None:
    def interrupted(error: BaseException, params: dict[str, str], step: int) -> None:
        with training("k1", params=params) as log:
            log.metrics({"loss/critic": 1.0}, step)
            raise error

    with pytest.raises(RuntimeError):
        interrupted(RuntimeError(), {"lr": "1"}, 1)
    assert run_of("k1").info.status == "FAILED"
    with pytest.raises(KeyboardInterrupt):
        interrupted(KeyboardInterrupt(), {"lr": "2", "late": "3"}, 2)
    assert run_of("k1").info.status == "KILLED"
    with training("k1") as log:
        log.metrics({"loss/critic": 1.0}, 3)
    run = run_of("k1")
    assert run.info.status == "FINISHED"
    assert steps(run) == [1, 2, 3]
    assert run.data.params["lr"] == "1"
    assert run.data.params["late"] == "3"


@pytest.mark.parametrize(("code", "status"), [(0, "FINISHED"), (None, "FINISHED"), (1, "FAILED"), (143, "KILLED")])
def test_status_of_a_process_that_exits(project: Path, code: int | None, status: str) -> None:
    with pytest.raises(SystemExit), training("k1"):
        raise SystemExit(code)
    assert run_of("k1").info.status == status


def test_no_two_runs_of_an_experiment_are_called_alike(project: Path) -> None:
    name = 'o\'clock · "dcgan" · seed 1'
    for key in ("k1", "k2", "k3"):
        with training(key, run_name=name):
            pass
    with training("k2", run_name=name):
        pass
    assert [run_of(key).info.run_name for key in ("k1", "k2", "k3")] == [name, f"{name} · no. 2", f"{name} · no. 3"]


def test_the_same_generator_once_more_is_nested_below_the_run_that_made_it(project: Path) -> None:
    for key in ("k1", "k2", "k3"):
        with training(key) as log:
            log.made("cafe")
    first, *others = (run_of(key) for key in ("k1", "k2", "k3"))
    assert [other.data.tags["mlflow.parentRunId"] for other in others] == [first.info.run_id] * 2
    assert [other.info.run_name for other in others] == ["a run · repetition", "a run · repetition · no. 2"]
    assert [other.info.status for other in others] == ["FINISHED"] * 2
    assert first.data.tags["generator_sha256"] == "cafe"
    assert all("generator_sha256" not in other.data.tags for other in others)


def test_trainings_of_a_group_are_nested_below_its_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with training("before") as log:
        log.made("known")
    with training("group") as group:
        wait_until(lambda: not _undelivered_open(), timeout_s=60, what="the group's run is there")
        monkeypatch.setenv(GROUP_VARIABLE, "group")
        with pytest.raises(SystemExit), training("stopped"):
            sys.exit(143)
        monkeypatch.delenv(GROUP_VARIABLE)
        group.nest("known")
        group.nest("nobody's")
    parent = run_of("group").info.run_id
    assert [run_of(key).data.tags.get("mlflow.parentRunId") for key in ("before", "stopped")] == [parent] * 2
    assert run_of("stopped").info.status == "KILLED"
    assert "mlflow.parentRunId" not in run_of("group").data.tags


def _undelivered_open() -> bool:
    return any(not (folder / "delivered.json").exists() for folder in spooled())


def test_a_run_describes_itself_and_a_persons_words_stay(project: Path) -> None:
    def described(key: str) -> str:
        return str(run_of(key).data.tags["mlflow.note.content"])

    for text in ("one", "two"):
        with training("k1") as log:
            log.describe(text)
            log.made("cafe")
        assert described("k1") == sealed(text)
    client().set_tag(run_of("k1").info.run_id, "mlflow.note.content", "ours")
    for key in ("k1", "k2"):
        with training(key) as log:
            log.describe("three")
            log.made("cafe")
    assert described("k1") == "ours"
    assert described("k2").startswith("Produces the same generator as a run")


def test_the_experiment_says_what_it_is_and_a_persons_words_stay(project: Path) -> None:
    def tags() -> dict[str, str]:
        return dict(client().get_experiment_by_name("tests").tags)

    with training("k1"):
        pass
    before = tags()
    assert before["mlflow.experimentKind"] == "custom_model_development"
    assert before["mlflow.experiment.primaryMetric.name"] == "eval/domain/fid_estimate"
    assert before["mlflow.experiment.primaryMetric.greaterIsBetter"] == "false"
    assert all(len(value) < 5000 for value in before.values())  # what databases keep of a tag
    saved = json.loads(before["mlflow.sharedViewState.gan"])
    state = json.loads(zlib.decompress(base64.b64decode(saved["state"].removeprefix("deflate;"))))
    assert state == view(experiment("tests"))
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`eval/domain/fid_estimate`", True)
    store_client = client()
    experiment_id = store_client.get_experiment_by_name("tests").experiment_id
    store_client.set_experiment_tag(experiment_id, "mlflow.note.content", "ours")
    with training("k2"):
        pass
    assert tags() == {**before, "mlflow.note.content": "ours"}
    other = Experiment("tests", metric="inception/is", greater_is_better=True, halfway_images=64)
    with training("k3", experiment=other):
        pass
    after = tags()
    assert after["mlflow.experiment.primaryMetric.name"] == "eval/inception/is_estimate"
    assert after["mlflow.sharedViewState.gan"] != before["mlflow.sharedViewState.gan"]


def test_how_busy_the_machine_is_on_request(project: Path) -> None:
    with training("k1") as log, logged_system_metrics(log, wanted=True, every_s=0.01):
        time.sleep(0.1)
    with training("k2") as log, logged_system_metrics(log, wanted=False):
        pass
    found = run_of("k1").data.metrics
    assert 0 < found["system/system_memory_usage_percentage"] < 100
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100
    assert len(steps(run_of("k1"), "system/cpu_utilization_percentage")) > 1
    assert run_of("k2").data.metrics == {}


def test_attached_entries_go_to_the_run_that_made_the_generator(project: Path) -> None:
    with training("k1") as log:
        log.made("cafe")
    with attach_run(experiment="tests", generator_sha256="cafe", tags={"evaluated": "yes"}) as log:
        log.metrics({"domain/fid": 3.0}, 128)
    run = run_of("k1")
    assert run.data.metrics["domain/fid"] == 3.0
    assert run.data.tags["evaluated"] == "yes"
    assert run.info.status == "FINISHED"


def test_a_generator_without_a_run_gets_one_marked_as_restored(project: Path) -> None:
    for score in (3.0, 2.0):
        with attach_run(experiment="tests", generator_sha256="beef") as log:
            log.metrics({"domain/fid": score}, 128)
    experiment_id = delivery.find_or_create_experiment(client(), "tests")
    (run,) = client().search_runs([experiment_id])
    assert run.data.tags["ganlib.restored"] == "true"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["domain/fid"] == 2.0


@pytest.mark.parametrize("kind", ["sqlite", "http"])
def test_values_that_are_no_numbers_are_kept(kind: str, project: Path, request: pytest.FixtureRequest) -> None:
    if kind == "http":
        request.getfixturevalue("server")
    with training(f"nan-{kind}") as log:
        for step, value in enumerate((math.nan, math.inf, -math.inf, 1.0)):
            log.metrics({"loss/critic": value}, step)
    history = client().get_metric_history(run_of(f"nan-{kind}").info.run_id, "loss/critic")
    values = {entry.step: entry.value for entry in history}
    assert math.isnan(values[0])
    assert values[1] > 1e308
    assert values[2] < -1e308
    assert values[3] == 1.0


def test_refused_entries_do_not_hold_up_the_rest(server: MlflowServer, caplog: pytest.LogCaptureFixture) -> None:
    with training("refusals") as log:
        log.metrics({"loss/critic": 1.0}, 1)
        log.metrics({"loss/critic": 2.0, "not allowed: $%": 2.0}, 2)
        log.picture("not allowed: $%", PIXELS, 2)
        log.metrics({"loss/critic": 3.0}, 3)
        log.metrics({"loss/critic": 4.0}, 2**70)
        log.metrics({"loss/critic": 4.0}, 4)
    run = run_of("refusals")
    assert steps(run) == [1, 3, 4]
    assert run.info.status == "FINISHED"
    assert caplog.text.count("dropped one") == 3


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


def test_a_store_that_is_away_is_told_in_one_line(project: Path, mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client()
    port = free_port()
    for uri, words in {
        f"http://127.0.0.1:{port}": f"no answer (connection refused); start it again with `mlflow server --host "
        f"127.0.0.1 --port {port} --backend-store-uri STORE --artifacts-destination FOLDER`; the same STORE",
        mute: "no answer within 5 s; start it again with",
        f"postgresql://user:secret@127.0.0.1:{port}/db": "no answer (connection refused); check that it is",
    }.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        started = time.monotonic()
        with pytest.raises(UserError) as caught:
            check_store()
        assert time.monotonic() - started < 7
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_a_damaged_local_store_is_told_in_one_line(project: Path) -> None:
    (project / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(
        UserError, match=r"mlflow\.db: cannot be opened: .*file is not a database.*; if it is damaged, restore a backup"
    ):
        check_store()


def test_passwords_are_neither_spooled_nor_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:hunter2@127.0.0.1:{free_port()}")
    with training("k1") as log:
        log.metrics({"loss/critic": 1.0}, 1)
        wait_until(lambda: "no answer" in caplog.text, "the outage is noticed")
    with pytest.raises(UserError) as caught:
        check_store()
    (journal,) = spooled()
    told = caplog.text + str(caught.value) + "".join(capfd.readouterr())
    kept = "".join(path.read_text() for path in journal.iterdir() if path.is_file())
    assert "hunter2" not in told + kept
    assert "someone" not in told + kept
    assert "http://***@127.0.0.1" in told


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("postgresql://u:p@ss@host/db", "postgresql://***@host/db"),
        ("https://host/x?token=abc&a=b", "https://host/x?token=***&a=b"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////some/where.db", "sqlite:////some/where.db"),
    ],
)
def test_redact(secret: str, shown: str) -> None:
    assert store.redact(f"at {secret} or so") == f"at {shown} or so"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("HTTP://LocalHost:80", "http://localhost"),
        ("https://anna:Secret@Host.example:443/mlflow//", "https://anna:Secret@host.example/mlflow"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        (" sqlite:////data/../data/runs.db ", "sqlite:////data/runs.db"),
        ("postgresql+psycopg2://u:p@host/Db", "postgresql+psycopg2://u:p@host/Db"),
    ],
)
def test_one_store_has_one_spelling(written: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", written)
    assert store.store_uri() == meant


@pytest.mark.parametrize(
    "text", ["localhost:5000", "mlruns", "/srv/mlruns", "file:///srv/mlruns", "http://", "http://["]
)
def test_what_cannot_be_an_address_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", text)
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI=.*not an address"):
        store.store_uri()


def test_what_waits_for_another_store_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    with training("k1") as log:
        log.metrics({"loss/critic": 1.0}, 1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    caplog.clear()
    deliver_pending()
    assert (
        f"holds the logs of 1 processes for another store, {elsewhere}; the current store is mlflow.db" in caplog.text
    )
    assert len(spooled()) == 1


def test_a_temporary_copy_uses_the_store_of_its_project(project: Path, tmp_path: Path) -> None:
    """DVC names the project in the environment of an experiment that it runs in a copy."""
    code = (
        "from pipelines import paths; from pipelines.tracking.store import store_uri; print(store_uri(), paths.SPOOL)"
    )
    environment = {**os.environ, "DVC_ROOT": str(project), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert done.stdout.decode().split() == [f"sqlite:///{project}/mlflow.db", f"{project}/.ganlib/spool"]


def test_importing_is_cheap() -> None:
    code = "import sys, pipelines.tracking.runs; sys.exit(bool({'mlflow', 'torch', 'requests'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
