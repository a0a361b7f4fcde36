"""The real pipeline on a tiny configuration: `dvc repro` as users run it. Tests build on each other's runs."""

import io
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image, ImageOps

from ganlib.datasets.packed.reading import open_packed
from ganlib.evaluation.record import Evaluation
from pipelines import paths
from pipelines.registry.verdict import Registration
from tests.pipeline_project import STAGES, Project, make_project, outcomes
from tests.toy_project import processes_in, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("pipeline") / "project")
    done = made.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == dict.fromkeys(STAGES, "ran")
    assert "Gate: " in done.stdout
    assert "domain/fid" in done.stdout
    return made


@pytest.fixture(scope="module")
def reference_hash(project: Project) -> str:
    return project.generator_hash()


def test_a_first_run_leaves_everything_a_user_expects(project: Project) -> None:
    pictures = (paths.SAMPLES, paths.REAL_AND_GENERATED, paths.NEAR_COPIES, paths.TRUNCATION, paths.INTERPOLATION)
    for path in (*pictures, paths.ANIMATION, paths.TRAINING_SAMPLES, paths.CURVES, paths.SNAPSHOTS, paths.MODEL_CARD):
        assert (project.root / path).stat().st_size > 0
    found = Evaluation.read(project.root / paths.EVALUATION)
    assert found.generator_sha256 == project.generator_hash()
    fid = found.metrics["domain/fid"]
    assert fid.interval is not None
    conditions = fid.conditions
    assert (conditions.reference, conditions.generated_count, conditions.extractor) == ("test", 400, "domain")
    assert set(found.memorisation) == {"features", "pixels"}
    assert {row.name for row in found.classes} == set("0123456789")
    decision = Registration.read(project.root / paths.REGISTRATION)
    assert decision.verdict.promoted is True
    assert decision.version == "1"
    page = (project.root / paths.REPORT).read_text(encoding="utf-8")
    assert "Promoted to champion" in page
    with Image.open(project.root / paths.ANIMATION) as animation:
        assert animation.n_frames > 10


def test_report_and_card_are_with_the_run_and_the_model(project: Project, tmp_path: Path) -> None:
    import mlflow

    uri = f"sqlite:///{project.root / 'mlflow.db'}"
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    logged = {
        file.path for folder in ("report", "evaluation") for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"report/report.html", "report/MODEL_CARD.md", "evaluation/evaluation.json"} <= logged
    assert {"test/domain/fid", "test/domain/fid_low", "test/memorisation/features_p_value"} <= run.data.metrics.keys()
    champion = "models:/digits@champion"
    # To name the store to all of MLflow would name it to the tests that follow in this process, too.
    model = Path(mlflow.artifacts.download_artifacts(champion, dst_path=str(tmp_path), tracking_uri=uri))
    (card,) = model.rglob("MODEL_CARD.md")
    assert card.read_text(encoding="utf-8") == (project.root / paths.MODEL_CARD).read_text(encoding="utf-8")


def test_images_are_judged_by_what_was_trained(project: Project, tmp_path: Path) -> None:
    data = open_packed(project.root / paths.PROCESSED)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    pictures = {"copied": data.train.take(np.array([17]))[0], "held out": data.test.take(np.array([3]))[0]}
    files = [tmp_path / f"{name}.png" for name in (*pictures, "noise")]
    for file, pixels in zip(files, (*pictures.values(), noise), strict=True):
        Image.fromarray(pixels[:, :, 0]).save(file)
    done = project.gan("judge", *map(str, files), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    copied, held_out, scribble = told["images"]
    assert (copied["near_copy"], copied["nearest"][0]["index"], copied["nearest"][0]["distance"]) == (True, 17, 0)
    assert held_out["features"]["held_out"] > scribble["features"]["held_out"]
    assert len({each["critic"]["score"] for each in told["images"]}) == 3


def test_the_run_in_mlflow_tells_of_its_data(project: Project) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    figures = json.loads((project.root / paths.DATA_REPORT).read_text())
    logged = {name: value for name, value in run.data.metrics.items() if name.startswith("data/")}
    assert logged["data/files"] == 1797
    assert any(name.startswith("data/cases/") for name in logged)
    assert logged == {f"data/{name}": value for name, value in figures.items() if name.count("/images/") == 0}


def test_whoever_shares_the_folder_can_go_on(project: Project) -> None:
    """All that is the owner's to write is the group's as well; read-only copies in the cache are DVC's."""
    for path in project.root.rglob("*"):
        mode = path.lstat().st_mode
        if mode & stat.S_IWUSR and not path.is_symlink() and ".git" not in path.parts:
            assert mode & stat.S_IWGRP, path


def test_nothing_changed_means_nothing_runs_and_clean_status(project: Project) -> None:
    done = project.gan("repro")
    assert outcomes(done.stdout) == dict.fromkeys(STAGES, "unchanged")
    assert "Nothing has changed" in done.stdout
    assert "up to date" in project.run("dvc", "status").stdout
    changed = {line[3:] for line in project.git("status", "--porcelain", "-uall").splitlines()}
    assert all(name == "dvc.lock" or name.startswith("reports/") for name in changed), changed
    assert not any(name.endswith(".gitignore") for name in changed), "DVC found its outputs ignored already"


def test_forced_again_gives_the_same_generator(project: Project, reference_hash: str) -> None:
    done = project.run("dvc", "repro", "-f", "train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed" not in done.stdout
    assert project.generator_hash() == reference_hash


def test_the_flow_gives_the_same_outputs(project: Project, reference_hash: str) -> None:
    metrics = (project.root / paths.METRICS).read_bytes()
    done = project.gan("run", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.generator_hash() == reference_hash
    assert (project.root / paths.METRICS).read_bytes() == metrics
    assert Registration.read(project.root / paths.REGISTRATION).version == "1"
    assert "up to date" in project.run("dvc", "status").stdout


@pytest.mark.parametrize(
    "target", ["everything", pytest.param("the stage", marks=pytest.mark.slow), "the stage, on request"]
)
def test_killed_training_resumes_to_the_same_generator(project: Project, reference_hash: str, target: str) -> None:
    checkpoints = project.root / paths.CHECKPOINTS
    shutil.rmtree(checkpoints)  # of the training that has made the reference
    process = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", "train"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*/0*/manifest.json")):
        assert time.monotonic() < deadline, "no checkpoint was written"
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.01)
    if target == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        for child in psutil.Process(process.pid).children(recursive=True):
            if "pipelines.stages.train" in child.cmdline():
                (child.terminate if target.endswith("request") else child.kill)()
    told, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert ("train: stopped at" in told) == target.endswith("request")
    assert not (project.root / paths.GENERATOR / "generator.json").exists()

    done = project.run("dvc", "repro", "-s", "train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed at" in done.stdout
    assert project.generator_hash() == reference_hash
    assert [path.name for path in checkpoints.glob("*/finished.json")] == ["finished.json"]


def test_editing_a_metric_runs_evaluate_and_register_only(project: Project) -> None:
    path = project.root / "ganlib" / "metrics" / "fidelity.py"
    path.write_text(path.read_text(encoding="utf-8") + "# A comment.\n", encoding="utf-8")
    done = project.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == dict.fromkeys(STAGES[:3], "unchanged") | {"evaluate": "ran", "register": "ran"}
    assert Registration.read(project.root / paths.REGISTRATION).version == "1"


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
    assert "was measured again" in decision.verdict.reason
    assert decision.verdict.table[0].champion is not None


@pytest.mark.thorough
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
    deadline = time.monotonic() + 120
    while not list((project.root / paths.CHECKPOINTS).glob("*/0*/manifest.json")):
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.05)
    workers = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    assert len(workers) == 2
    workers[1].kill()
    _, told = process.communicate(timeout=60)
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


BROKEN_DATA = {
    "absent": (lambda folder: None, "no such file or folder"),
    "empty": (lambda folder: folder.mkdir(), "the folder is empty"),
    "not images": (lambda folder: _write(folder, {"a/x.txt": b"text", "b/y.txt": b"text"}), "none of them a usable"),
    "one image": (lambda folder: _write(folder, {"a/x.png": PNG}), "found at most 1 training images"),
}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def _inverted(content: bytes) -> bytes:
    """Another picture, and so a new image of the same class."""
    buffer = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(content))).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()


@pytest.mark.parametrize("kind", BROKEN_DATA)
def test_broken_data_is_told_in_lines_and_leaves_the_last_results(project: Project, kind: str) -> None:
    build, expected = BROKEN_DATA[kind]
    folder = project.root / "data" / "raw" / kind.replace(" ", "_")
    build(folder)
    project.set_params({"data.source": f"data/raw/{folder.name}"})
    before = (project.root / paths.REGISTRATION).read_bytes()
    done = project.gan("repro")
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line]
    # What one image is too few for is told at once: a batch, and three figures.
    assert len(errors) == (4 if kind == "one image" else 1), done.stderr
    assert all(line.startswith("error: ") for line in errors), done.stderr
    assert expected in errors[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert (project.root / paths.REGISTRATION).read_bytes() == before


def test_a_typo_in_params_and_a_registry_that_is_not_there(project: Project) -> None:
    path = project.root / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("batch_size", "bach_size", 1), encoding="utf-8")
    done = project.gan("repro")
    assert done.returncode == 2
    assert "did you mean batch_size?" in done.stderr
    project.set_params({"train.seed": 2})
    project.git("checkout", "-q", "--", "data")
    started = time.monotonic()
    done = project.gan("repro", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:9" in done.stderr
    assert time.monotonic() - started < 120
    # The training itself was not disturbed, and what the dead server missed waits in the spool.
    assert outcomes(done.stdout)["train"] == "ran"
    assert list((project.root / paths.SPOOL).iterdir())


def test_the_command_line_starts_without_heavy_libraries() -> None:
    code = "import sys, pipelines.cli; print([m for m in ('torch', 'mlflow', 'prefect', 'dvc') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
