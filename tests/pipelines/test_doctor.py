"""`gan doctor` in real folders: what is well, what is to do, and that it leaves everything as it is."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from pipelines import cli, environment, paths
from pipelines.doctor import machine, services, software
from pipelines.doctor.finding import Finding
from pipelines.graph.locking import hold
from pipelines.tracking.delivery import MlflowStore
from pipelines.tracking.journal import Journal, Patience
from tests.configs import ROOT, tiny_values
from tests.mlflow_server import MlflowServer, free_port

Examined = tuple[int, dict[str, list[str]], str]
Doctor = Callable[[], Examined]


@pytest.fixture
def folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with parameters, data, a DVC configuration and a commit; none of the user's variables."""
    for name in ("dvc.yaml", "constraints.txt", "pyproject.toml", ".dvc/config"):
        (project / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    (project / paths.RAW).mkdir(parents=True)
    shutil.copy2(ROOT / "data/raw/digits.zip", project / paths.RAW)
    (project / paths.PARAMS).write_text(yaml.safe_dump(tiny_values({}), sort_keys=False))
    for arguments in (["init", "-q", "-b", "main"], ["add", "params.yaml"], ["commit", "-qm", "start"]):
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], check=True)
    for name in environment.set_by_user():
        if name.startswith(("MLFLOW_", "PREFECT_", "DVC_", "GANLIB_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(project.parent))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    return project


@pytest.fixture
def doctor(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Doctor:
    """(exit code, topic -> its lines with their mark, all that was printed)."""

    def run() -> Examined:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["gan", "doctor"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, _ = capfd.readouterr()
        told: dict[str, list[str]] = {}
        for line in out.splitlines()[:-1]:
            mark, topic, text = line.split(maxsplit=2)
            told.setdefault(topic, []).append(f"{mark} {text}")
        return int(ended.value.code or 0), told, out

    return run


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """All files but those that git itself refreshes, with their times."""
    found = (path for path in folder.parent.rglob("*") if ".git" not in path.parts)
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in found}


def test_all_is_well_and_nothing_is_touched(doctor: Doctor, folder: Path) -> None:
    before = contents(folder)
    code, told, out = doctor()
    assert code == 0, out
    assert out.endswith("gan doctor: all is well\n")
    assert all(line.startswith("ok ") for lines in told.values() for line in lines)
    assert set(told) == {
        "versions", "environment", "telemetry", "variables", "parameters", "devices", "weights", "disk", "git", "DVC",
        "MLflow", "Prefect", "locks", "spool",
    }  # fmt: skip
    assert told["MLflow"] == [f"ok sqlite:///{folder}/mlflow.db: its schema matches the installed MLflow"]
    assert told["git"][0].startswith("ok commit ")
    assert told["git"][0].endswith(" on main, nothing changed since")
    assert contents(folder) == before


def test_everything_amiss_is_a_line_with_what_to_do(
    doctor: Doctor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / paths.RAW / "digits.zip").unlink()
    (folder / paths.RAW / "digits.zip.dvc").write_text("outs: []\n")
    closed = f"http://ada:hunter2@127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed)
    monkeypatch.setenv("PREFECT_API_URL", f"{closed}/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ada:hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    monkeypatch.setenv("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-Key": "hunter2"}')
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hunter2@proxy:3128")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    code, told, out = doctor()
    assert code == 1
    assert "hunter2" not in out
    assert told["parameters"][0].startswith("do data.source=data/raw/digits.zip: not here, but")
    assert told["DVC"][0].startswith("do no remote, so that the data of data/raw/digits.zip.dvc are on this machine")
    assert told["telemetry"] == ["do MLFLOW_DISABLE_TELEMETRY=false: allows it; unset it, or set it to true"]
    assert told["MLflow"][0].startswith("do MLFLOW_TRACKING_URI=http://***@127.0.0.1:")
    assert "no answer (connection refused)" in told["MLflow"][0]
    assert told["Prefect"][0].startswith("do PREFECT_API_URL=http://***@127.0.0.1:")
    assert "prefect server start" in told["Prefect"][0]
    assert "ok CUDA_VISIBLE_DEVICES=1" in told["variables"]
    assert "ok MLFLOW_TRACKING_PASSWORD=***" in told["variables"]
    assert "ok HTTPS_PROXY=http://***@proxy:3128" in told["variables"]
    assert out.endswith("gan doctor: 5 things to do\n")


def test_a_folder_that_is_no_project(
    doctor: Doctor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    code, told, _ = doctor()
    assert code == 1
    assert told["parameters"][0].startswith("do params.yaml: not found in ")
    assert told["git"] == ["do git finds no commit here, and runs name theirs; install git, or `git clone` the project"]
    assert told["MLflow"] == ["ok mlflow.db does not exist yet; the first run creates it"]
    assert list(empty.iterdir()) == []


def test_tables_of_another_mlflow(doctor: Doctor, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '000000000000'")
    before = (folder / "mlflow.db").read_bytes()
    code, told, _ = doctor()
    assert code == 1
    assert "its schema belongs to another version of MLflow" in told["MLflow"][0]
    assert (folder / "mlflow.db").read_bytes() == before


def test_locks_and_a_spool_left_over(doctor: Doctor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    patience = Patience(gather_s=0.05, first_pause_s=5, longest_pause_s=5, close_s=0.1)
    journal = Journal(paths.SPOOL, MlflowStore(), {"by": "run_key", "experiment": "e"}, patience)
    (paths.SPOOL / "1-1.damaged").mkdir()
    with hold(paths.PIPELINE_LOCK, on_wait=print):
        Path(".dvc/tmp").mkdir()
        entry = {"pid": 1, "cmd": "dvc repro"}
        Path(".dvc/tmp/rwlock").write_text(json.dumps({"/x": {"write": entry, "read": []}}))
        _, told, _ = doctor()
    assert told["locks"][0].startswith("ok a run: held by process ")
    assert told["locks"][1:] == ["ok files of the pipeline: held by process 1 (dvc repro)"]
    spooled = paths.SPOOL / journal.folder.name
    assert told["spool"] == [
        f"do {paths.SPOOL}/1-1.damaged is damaged and is not delivered; look into it, then delete it",
        f"ok {spooled} is of a process at work, for {away}",
    ]
    journal.close()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    code, told, _ = doctor()
    assert code == 1
    advice = f"when it answers, `MLFLOW_TRACKING_URI={away} gan compare --last 2` delivers it"
    assert told["spool"][1] == f"do {spooled} waits for {away}; {advice}"


def test_a_server_answers(server: MlflowServer) -> None:
    assert list(services.store("nothing of this name")) == [Finding(f"{server.uri} answers")]


def test_packages_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "ganlib"\nrequires-python = ">=3.99"\ndependencies = ["numpy<1", "no-such-package>=1"]\n'
    )
    python, numpy, missing = software.versions(tmp_path)
    assert {python.well, numpy.well, missing.well} == {False}
    assert "expected >=3.99" in python.text
    assert numpy.text.startswith("numpy: found ")
    assert "expected <1; install with" in numpy.text
    assert missing.text.startswith("no-such-package: found none")


def test_other_versions_than_the_tested_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "ganlib"\nrequires-python = ">=3"\ndependencies = ["numpy"]\n'
    )
    (tmp_path / "constraints.txt").write_text("NumPy==1.0\n")
    (found,) = software.versions(tmp_path)
    assert found.well
    assert "other than tested (in brackets): numpy " in found.text
    assert found.text.endswith(" (1.0)")


def test_code_of_another_folder(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (found,) = software.installation(tmp_path)
    assert not found.well
    assert str(ROOT) in found.text
    assert str(tmp_path) in found.text


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_FREE_GIB", 1e9)
    assert [found.well for found in machine.disks(tmp_path)] == [False, False]
    assert all("make room" in found.text for found in machine.disks(tmp_path))
