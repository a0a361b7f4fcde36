"""The real pipeline on a tiny configuration: `dvc repro` as users run it. Tests build on each other's runs."""

import base64
import io
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from ganlib.datasets.packed.reading import open_packed
from ganlib.evaluation.record import Evaluation
from ganlib.marking import COMPOSITE_TYPE, read_origin
from pipelines import paths
from pipelines.registry.verdict import Registration
from tests.pipeline_project import STAGES, Project, make_finished_project, outcomes

pytestmark = pytest.mark.integration

STAGES_AFTER_THE_EDIT = dict.fromkeys(STAGES[:3], "unchanged") | {"evaluate": "ran", "register": "ran"}


PICTURES = (paths.SAMPLES, paths.REAL_AND_GENERATED, paths.NEAR_COPIES, paths.TRUNCATION, paths.INTERPOLATION)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_finished_project(tmp_path_factory.mktemp("pipeline") / "project")


def test_a_first_run_leaves_everything_a_user_expects(project: Project) -> None:
    for path in (*PICTURES, paths.ANIMATION, paths.TRAINING_SAMPLES, paths.CURVES, paths.SNAPSHOTS, paths.MODEL_CARD):
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


def test_every_picture_says_what_made_it(project: Project) -> None:
    """All files of pictures, whatever they are called, and those that the report holds."""
    files = [each for each in (project.root / paths.REPORTS).rglob("*") if each.suffix in {".png", ".webp", ".jpg"}]
    assert len(files) >= 7
    page = (project.root / paths.REPORT).read_text(encoding="utf-8")
    held = [base64.b64decode(each) for each in re.findall(r"data:image/(?:png|webp|jpeg);base64,([^\"')]+)", page)]
    assert len(held) >= 5
    for content in (*(file.read_bytes() for file in files), *held):
        with Image.open(io.BytesIO(content)) as opened:
            origin = read_origin(opened)
        assert origin is not None
        assert origin.generator_sha256 == project.generator_hash()
    real = {path: COMPOSITE_TYPE.encode() in (project.root / path).read_bytes() for path in PICTURES}
    assert {path for path, shown in real.items() if shown} == {paths.REAL_AND_GENERATED, paths.NEAR_COPIES}


def test_report_and_card_are_with_the_run_and_the_model(project: Project) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    logged = {
        file.path for folder in ("report", "evaluation") for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"report/report.html", "report/MODEL_CARD.md", "evaluation/evaluation.json"} <= logged
    fid = {f"eval/domain/fid{end}" for end in ("", "_estimate", "_estimate_low", "_estimate_high")}
    assert fid | {"eval/domain/coverage", "loss/critic", "training/minutes"} <= run.data.metrics.keys()
    assert len(run.data.metrics) <= 20
    assert len(run.data.params) <= 40
    assert run.info.run_name.startswith("digits · dcgan · seed ")
    assert run.data.tags["mlflow.note.content"].startswith("**Promoted: there is no champion to compare with")
    first, *_ = client.list_artifacts(run.info.run_id)
    assert first.path == "Report.html"
    champion = client.get_model_version_by_alias("digits", "champion")
    model = Path(
        client.get_logged_model(champion.source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )
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
    assert (copied["near_copy"], copied["nearest"][0]["index"]) == (True, 17)
    # On some processors the features of an image depend on how many are looked at, in their last bit.
    assert copied["nearest"][0]["distance"] < 1e-5 < held_out["nearest"][0]["distance"]
    assert held_out["features"]["held_out"] > scribble["features"]["held_out"]
    assert len({each["critic"]["score"] for each in told["images"]}) == 3


def test_the_run_in_mlflow_tells_of_its_data(project: Project) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    figures = json.loads((project.root / paths.DATA_REPORT).read_text())
    (dataset,) = [each.dataset for each in run.inputs.dataset_inputs]
    logged = json.loads(dataset.profile)
    assert logged["files"] == 1797
    assert any(name.startswith("cases/") for name in logged)
    counted = {name: value for name, value in figures.items() if name.count("/images/") == 0}
    assert logged == {"classes": 10, **counted}


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


@pytest.mark.thorough
def test_a_flow_stopped_and_then_killed_in_training_makes_everything_anew_to_the_same_outputs(project: Project) -> None:
    generator, metrics = project.generator_hash(), (project.root / paths.METRICS).read_bytes()
    checkpoints = project.root / paths.CHECKPOINTS
    shutil.rmtree(checkpoints)  # of the training that has made the reference
    project.set_params({"flow.retries": 2, "flow.retry_delay_s": 0})
    flow = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", "--force"],
        cwd=project.root, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGKILL):
        before = {*checkpoints.glob("*/0*/manifest.json")}
        deadline = time.monotonic() + 240
        while not {*checkpoints.glob("*/0*/manifest.json")} - before:
            assert time.monotonic() < deadline, "no checkpoint was written"
            assert flow.poll() is None, flow.stdout and flow.stdout.read()
            time.sleep(0.01)
        (training,) = (
            each
            for each in psutil.Process(flow.pid).children(recursive=True)
            if each.cmdline()[-2:] == ["-m", "pipelines.stages.train"]
        )
        training.send_signal(number)
        training.wait(timeout=60)
    told, _ = flow.communicate(timeout=300)
    assert flow.returncode == 0, told
    assert "train: stopped at" in told
    assert told.count("resumed at") == 2
    assert all(f"{stage} | ran in" in told for stage in STAGES), told
    assert project.generator_hash() == generator
    assert (project.root / paths.METRICS).read_bytes() == metrics
    assert Registration.read(project.root / paths.REGISTRATION).version == "1"
    assert "up to date" in project.run("dvc", "status").stdout
    assert [path.name for path in checkpoints.glob("*/finished.json")] == ["finished.json"]


def test_editing_a_metric_runs_evaluate_and_register_only_and_a_dead_registry_loses_nothing(project: Project) -> None:
    path = project.root / "ganlib" / "metrics" / "fidelity.py"
    path.write_text(path.read_text(encoding="utf-8") + "# A comment.\n", encoding="utf-8")
    away = project.gan("repro", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert away.returncode == 2, away.stdout + away.stderr
    assert "MLFLOW_TRACKING_URI=http://127.0.0.1:9" in away.stderr
    # The evaluation itself was not disturbed, and what the dead server missed waits in the spool.
    assert outcomes(away.stdout) | {"register": "ran"} == STAGES_AFTER_THE_EDIT
    assert list((project.root / paths.SPOOL).iterdir())
    done = project.gan("repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcomes(done.stdout) == STAGES_AFTER_THE_EDIT | {"evaluate": "unchanged"}
    assert Registration.read(project.root / paths.REGISTRATION).version == "1"


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
