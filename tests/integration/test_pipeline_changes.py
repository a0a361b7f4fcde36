"""What changes mean for a pipeline that has run: a wiped cache, parameters, images, processes, a starting point.

Tests build on each other's runs.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageOps

from pipelines import paths
from pipelines.registry.verdict import Registration
from tests.pipeline_project import STAGES, Project, make_finished_project, outcomes
from tests.toy_project import processes_in, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_finished_project(tmp_path_factory.mktemp("changes") / "project")


@pytest.fixture(scope="module")
def reference_hash(project: Project) -> str:
    return project.generator_hash()


def test_push_wipe_pull_restores_without_running(project: Project, reference_hash: str, tmp_path: Path) -> None:
    assert project.run("dvc", "remote", "add", "--local", "-d", "store", str(tmp_path / "store")).returncode == 0
    assert project.run("dvc", "push").returncode == 0
    for command in (
        ["rm", "-rf", ".dvc/cache", "data/processed", "models/generator", "models/extractor", "reports/pictures"],
        ["dvc", "pull"],
    ):
        done = project.run(*command)
        assert done.returncode == 0, done.stderr
    assert project.generator_hash() == reference_hash
    assert "up to date" in project.run("dvc", "status").stdout


def test_an_experiment_changes_a_parameter_and_diffs(project: Project, reference_hash: str) -> None:
    project.git("add", "-A")
    project.git("commit", "-qm", "results")
    done = project.run("dvc", "exp", "run", "-S", "train.seed=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.generator_hash() != reference_hash
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    assert difference["reports/metrics.json"]["domain.fid"]["diff"] != 0
    assert Registration.read(project.root / paths.REGISTRATION).version == "2"
    plots = project.run("dvc", "plots", "show")
    assert plots.returncode == 0, plots.stderr
    page = (project.root / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "vegaEmbed" in page


def test_new_images_mean_a_new_training_and_a_comparison_on_the_same_ground(project: Project) -> None:
    archive = project.root / "data" / "raw" / "digits.zip"
    with zipfile.ZipFile(archive) as old:
        names = old.namelist()
        inverted = _inverted(old.read(names[0]))
    with zipfile.ZipFile(archive, "a") as new:
        new.writestr("0/new.png", inverted)
    done = project.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == dict.fromkeys(STAGES, "ran")
    decision = Registration.read(project.root / paths.REGISTRATION)
    assert decision.version == "3"
    assert decision.remeasured
    assert "Version 2 was measured again" in done.stdout
    assert decision.verdict.table[0].champion is not None


@pytest.mark.timeout(900)
def test_experiments_in_copies_register_in_the_projects_own_store(project: Project) -> None:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")

    def versions() -> list[ModelVersion]:
        return sorted(client.search_model_versions("name = 'digits'"), key=lambda each: int(each.version))

    before = len(versions())
    for command in (
        ("exp", "run", "--temp", "-S", "train.seed=3", "-n", "in-a-copy"),
        ("exp", "run", "--queue", "-S", "train.seed=4", "-n", "queued"),
        ("queue", "start"),
    ):
        done = project.run("dvc", *command, timeout_s=600)
        assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: len(versions()) == before + 2, timeout_s=600, what="the queued experiment registers")
    project.run("dvc", "queue", "stop")
    wait_until(lambda: not processes_in(project.root), timeout_s=300, what="DVC's worker ends")
    newest = versions()[-2:]
    runs = [client.get_run(each.run_id) for each in newest]
    assert [run.data.params["train.seed"] for run in runs] == ["3", "4"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run, version in zip(runs, newest, strict=True):
        assert {file.path for file in client.list_artifacts(run.info.run_id, "report")} >= {"report/report.html"}
        assert Path(client.download_artifacts(run.info.run_id, "report/registration.json")).is_file()
        assert version.tags["generator_sha256"] == run.data.tags["generator_sha256"]
    assert not list((project.root / paths.SPOOL).iterdir())
    listed = project.run("dvc", "exp", "list", "--name-only").stdout
    assert {"in-a-copy", "queued"} <= set(listed.split())


def test_two_processes_train_one_generator_and_a_dead_one_ends_the_run(project: Project) -> None:
    project.set_params({"train.devices": 2})
    stage = [sys.executable, "-m", "pipelines.stages.train"]
    done = project.run(*stage)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("train: generator ") == 1
    assert done.stderr == ""

    project.set_params({"train.devices": 2, "train.total_images": 10**7})
    shutil.rmtree(project.root / paths.CHECKPOINTS)
    process = subprocess.Popen(
        stage, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not list((project.root / paths.CHECKPOINTS).glob("*/0*/manifest.json")):
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.05)
    workers = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    assert len(workers) == 2
    workers[1].kill()
    _, told = process.communicate(timeout=240)
    assert process.returncode == 1
    assert len(told.splitlines()) == 1
    assert "SIGKILL" in told
    assert "run again to go on" in told


def test_fine_tuning_starts_from_a_registered_generator(project: Project) -> None:
    start = {"source": "models:/digits@champion", "sha256": "0" * 64, "freeze_critic_layers": 1}
    project.set_params({"train.init_from": start})
    stage = [sys.executable, "-m", "pipelines.stages.train"]
    done = project.run(*stage)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "train.init_from.sha256" in done.stderr
    found = next(word for word in re.findall(r"[0-9a-f]{12,64}", done.stderr) if set(word) != {"0"})

    project.set_params({"train.init_from": {**start, "sha256": found[:12]}})
    done = project.run(*stage)
    assert done.returncode == 0, done.stdout + done.stderr
    description = json.loads((project.root / paths.GENERATOR / "generator.json").read_text())
    assert description["provenance"]["init_from"] == found[:12]
    assert not project.generator_hash().startswith(found[:12])


def _inverted(content: bytes) -> bytes:
    """Another picture, and so a new image of the same class."""
    buffer = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(content))).save(buffer, "PNG")
    return buffer.getvalue()
