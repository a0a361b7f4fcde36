"""`gan start`: from a folder to parameters that are ready to run."""

import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from typer.testing import CliRunner

from ganlib.config import load_config
from ganlib.errors import UserError
from pipelines import cli
from pipelines.preflight import check_project
from pipelines.presets import known_presets, refuse_own_work
from pipelines.starting.start import name_of
from tests.adding import PARAMS
from tests.configs import ROOT
from tests.ganlib.datasets.image_files import noise_files, write_folder, write_zip

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a user has after a clone, and a trial that is over at once."""
    root = tmp_path / "project"
    write_zip(write_folder(root, {"data/raw/.keep": b""}) / "data/raw/digits.zip", noise_files(2))
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (root / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    shutil.copytree(ROOT / "presets", root / "presets")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    Repo.init(str(root)).close()
    monkeypatch.chdir(root)
    for name in ("STEPS_S", "OTHERS_S"):
        monkeypatch.setattr(f"pipelines.advice.trial.{name}", 0.01)
    monkeypatch.setattr("pipelines.advice.trial.STAGE", "json")  # which starts at once
    return root


def gan_start(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["start", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["start", *arguments])
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


def test_a_folder_becomes_a_project_that_is_ready(project: Path, tmp_path: Path) -> None:
    mine = write_folder(tmp_path / "My Photos", noise_files(240))
    told = gan_start(str(mine), "--minutes", "1")
    config = check_project(project)  # what `gan repro` asks for first
    assert config.data.source == "data/raw/my-photos"
    assert (config.data.channels, config.data.image_size, config.network.conditional) == (1, 16, True)
    assert (config.train.extractor, config.evaluate.extractor) == ("domain", "domain")
    assert config.register_.model_name == config.tracking.experiment == "my-photos"
    text = (project / "params.yaml").read_text()
    assert "# why: half of the pictures have a shorter side of 16 pixels or more" in text
    assert "  image_size: 16                  # pixels a side" in text
    for line in (
        "machine: ",
        "preset: photos-few",
        "expect: gan repro takes about ",
        "would help: more pictures",
        "next: ",
    ):
        assert any(each.startswith(line) for each in told.splitlines()), told

    # Its own work may be replaced, a person's may not.
    refuse_own_work(project, known_presets(project), force=False)
    (project / "params.yaml").write_text(text.replace("latent_dim: 128", "latent_dim: 32"))
    assert "holds changes that are in no preset" in refusal("data/raw/my-photos")
    assert load_config(project / "params.yaml").network.latent_dim == 32


def test_what_cannot_be_done_is_said_before_anything_is_done(project: Path, tmp_path: Path) -> None:
    few = write_folder(tmp_path / "few", noise_files(41))
    assert "found 41 usable pictures, expected 80 or more" in refusal(str(few))
    assert "--size 33: expected one of 16, 32" in refusal(str(few), "--size", "33")
    assert "--minutes 0: expected" in refusal(str(few), "--minutes", "0")
    assert "--measure-share 1: expected" in refusal(str(few), "--measure-share", "1")
    assert "no such file or folder" in refusal("absent")
    assert {path.name for path in (project / "data/raw").iterdir()} == {".keep", "digits.zip"}
    assert (project / "params.yaml").read_text(encoding="utf-8") == PARAMS


@pytest.mark.parametrize(
    ("what", "name"),
    [("~/My Photos/", "my-photos"), ("/x/Été 2024.tar.gz", "ete-2024"), ("s3://b/cats", "cats"), ("日本", "pictures")],
)
def test_names_follow_the_folder(what: str, name: str) -> None:
    assert name_of(what) == name
