"""What is found out about the store before the first stage, on real stores."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ganlib.errors import UserError
from pipelines import environment, paths
from pipelines.registry import promotion
from pipelines.registry.presence import check_registry
from pipelines.registry.versions import download_generator
from pipelines.tracking.delivery import find_or_create_experiment
from pipelines.tracking.store import address_all_of_mlflow, connect
from pipelines.ui import serve_ui
from tests.evaluations import registration
from tests.mlflow_server import MlflowServer, free_port


def hold(client: MlflowClient, name: str, generator_sha256: str) -> str:
    """A version of this generator; its number."""
    address_all_of_mlflow()
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    tags = {"generator_sha256": generator_sha256}
    experiment_id = find_or_create_experiment(client, "digits")
    model = client.create_logged_model(experiment_id, name="generator")
    return str(
        client.create_model_version(
            name, source=f"models:/{model.model_id}", tags=tags, model_id=model.model_id
        ).version
    )


def asked() -> list[str]:
    said: list[str] = []
    check_registry(Path(), "digits", say=said.append)
    return said


def report(**changes: str) -> Path:
    paths.REPORTS.mkdir(exist_ok=True)
    paths.REGISTRATION.write_text(registration("Better.").model_copy(update=changes).model_dump_json())
    return paths.REGISTRATION


def test_a_store_that_holds_the_version_is_left_alone_and_any_other_registers_anew(
    project: Path, session_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = hold(connect(), "digits", "a" * 64)
    file = report(model_name="digits", version=number, generator_sha256="a" * 64)
    assert asked() == []
    assert file.exists()
    # A team's server: it may be empty, or hold another generator under the same number.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", session_server.uri)
    (line,) = asked()
    assert line == f"{session_server.uri} lacks the version of the last report; removing {file} to register again"
    assert not file.exists()
    number = hold(MlflowClient(session_server.uri), "presence", "b" * 64)
    file = report(model_name="presence", version=number, generator_sha256="a" * 64)
    assert len(asked()) == 1
    assert not file.exists()
    file = report(model_name="presence", version=number, generator_sha256="b" * 64)
    assert asked() == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    (line,) = asked()
    assert "does not respond (no answer (connection refused))" in line
    assert file.exists()


def test_a_clone_has_no_registry(project: Path) -> None:
    (project / "mlflow.db").unlink()
    file = report()
    (line,) = asked()
    assert "mlflow.db does not exist" in line
    assert not file.exists()
    assert asked() == []
    assert not (project / "mlflow.db").exists(), "to ask makes no store"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (None, "mlflow.db: not in this folder, so there are no runs and no models; go to the project's folder"),
        (
            "sqlite:///{}/nowhere/x.db",
            "MLFLOW_TRACKING_URI=sqlite:///{}/nowhere/x.db: no such file, so it holds no runs",
        ),
    ],
)
def test_who_only_asks_makes_no_store(
    uri: str | None, told: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "mlflow.db").unlink()
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(project))
    before = sorted(project.rglob("*"))
    for reader in (
        lambda: promotion.history("digits"),
        lambda: promotion.promote("digits", "1", "better", say=print),
        lambda: promotion.roll_back("digits", "worse", say=print),
        lambda: download_generator("models:/digits@champion", tmp_path / "download"),
        lambda: serve_ui(free_port()),
    ):
        with pytest.raises(UserError) as caught:
            reader()
        assert str(caught.value).startswith(told.format(project))
        assert "\n" not in str(caught.value)
    assert asked() == []
    assert sorted(project.rglob("*")) == before


def test_a_deleted_experiment_and_other_tables_are_told_before_the_first_stage(project: Path) -> None:
    client = connect()
    number = client.create_experiment("digits")
    assert asked() == []
    client.delete_experiment(number)
    with pytest.raises(UserError, match=rf"experiments restore --experiment-id {number}`") as caught:
        asked()
    assert "\n" not in str(caught.value)
    client.restore_experiment(number)
    assert asked() == []


def test_a_project_that_was_moved_or_copied_finds_its_files(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect()
    run = client.create_run(find_or_create_experiment(client, "digits")).info
    Path("a.txt").write_text("a")
    client.log_artifact(run.run_id, "a.txt")
    copy = tmp_path / "a copy"
    shutil.copytree(project, copy)
    before = sorted(path.relative_to(project) for path in project.rglob("*"))
    monkeypatch.chdir(copy)
    client = connect()
    assert "mlflow.db.before-move" in caplog.text
    assert client.get_run(run.run_id).info.artifact_uri == run.artifact_uri.replace(project.as_uri(), copy.as_uri())
    another = client.create_run(find_or_create_experiment(client, "digits")).info
    client.log_artifact(another.run_id, "a.txt")
    assert len([*(copy / "mlruns").rglob("a.txt")]) == 2
    assert sorted(path.relative_to(project) for path in project.rglob("*")) == before, "the original is left alone"
    caplog.clear()
    connect()
    assert "before-move" not in caplog.text


def own_address() -> str:
    """Of this machine, as others see it: what lies at a loopback address is on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.thorough
def test_artifacts_on_another_machine_and_what_the_advice_leads_to(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = own_address()
    if host in environment.LOOPBACK:
        pytest.skip("this machine has no other address")
    # A new database keeps where its first experiment lies.
    server = MlflowServer(tmp_path, Path(os.devnull), host=host)
    server.artifacts = ["--no-serve-artifacts", "--default-artifact-root", "/only/on/the/server"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    server.start()
    try:
        with pytest.raises(UserError, match="stores artifacts in the folder /only/on/the/server") as caught:
            asked()
        assert "choose another" not in str(caught.value)
        connect().create_experiment("digits")
        with pytest.raises(UserError, match=r"choose another tracking\.experiment, because digits keeps its folder"):
            asked()
        server.kill()
        server.artifacts = ["--serve-artifacts", "--artifacts-destination", str(tmp_path / "artifacts")]
        server.start()
        with pytest.raises(UserError, match=r"choose another tracking\.experiment"):
            asked()
        check_registry(Path(), "another", say=print)
        created = connect().get_experiment(connect().create_experiment("another"))
        assert created.artifact_location.startswith("mlflow-artifacts:")
    finally:
        server.kill()
