"""`gan preset`: what it writes, what it says, and what it leaves alone."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganlib.config import load_config, parse_config
from ganlib.errors import UserError
from pipelines import cli
from pipelines.data.parameters import point_at
from pipelines.presets import known_presets, load_parameters, preset_text
from tests.configs import PRESET, ROOT

BASE = PRESET.read_text(encoding="utf-8")
DIGITS = f"# Digits, small.\n{BASE}"
MNIST = """\
# MNIST, fully connected.

data:
  source: data/raw/away.zip

network:
  conditional: false
  latent_dim: 32
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "presets").mkdir()
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/digits.zip").write_bytes(b"data")
    (tmp_path / "presets/base.yaml").write_text(BASE)
    (tmp_path / "presets/digits.yaml").write_text("# Digits, small.\n")
    (tmp_path / "presets/mnist-mlp.yaml").write_text(MNIST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gan_preset(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["preset", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def params(project: Path) -> str:
    return (project / "params.yaml").read_text()


def leftovers(project: Path) -> set[str]:
    return {path.name for path in project.iterdir()} - {"params.yaml", "presets", "data"}


def test_all_are_listed_with_what_they_are(project: Path) -> None:
    assert gan_preset() == "digits     Digits, small.\nmnist-mlp  MNIST, fully connected.\n"
    assert not (project / "params.yaml").exists()


def test_a_preset_becomes_params_yaml(project: Path) -> None:
    assert gan_preset("digits") == "params.yaml: written from preset digits\nnext: gan repro\n"
    assert params(project) == DIGITS
    assert gan_preset("digits").startswith("params.yaml: is preset digits already, nothing changed\n")
    changed, follows = gan_preset("mnist-mlp").splitlines()
    assert changed == (
        "params.yaml: now preset mnist-mlp instead of preset digits; it differs in "
        "data.source, network.conditional, network.latent_dim"
    )
    assert follows == (
        "next: bring the data, as data/raw/away.zip is not here: images, in class folders or not, "
        "or set data.source to yours; then gan repro"
    )
    assert load_config(project / "params.yaml").network.latent_dim == 32
    assert params(project).count("#") == DIGITS.count("#")
    assert leftovers(project) == set()


def test_line_endings_are_no_changes(project: Path) -> None:
    gan_preset("digits")
    (project / "params.yaml").write_bytes(DIGITS.encode().replace(b"\n", b"\r\n"))
    assert "nothing changed" in gan_preset("digits")
    assert "instead of preset digits" in gan_preset("mnist-mlp")


def test_data_that_were_added_are_no_changes(project: Path) -> None:
    gan_preset("digits")
    (project / "data/raw/mine.zip").write_bytes(b"data")
    assert point_at(project, "data/raw/mine.zip") == "data/raw/digits.zip"
    assert "instead of preset digits" in gan_preset("mnist-mlp")


@pytest.mark.parametrize("mine", [f"{DIGITS}# mine\n".encode(), b"[", b"\xff\xfe", b""])
def test_work_of_the_user_is_kept_unless_forced(mine: bytes, project: Path) -> None:
    (project / "params.yaml").write_bytes(mine)
    with pytest.raises(UserError, match=r"^params\.yaml: holds changes that are in no preset; .*--force$"):
        gan_preset("digits")
    assert (project / "params.yaml").read_bytes() == mine
    assert "instead of changes of your own" in gan_preset("digits", "--force")
    assert params(project) == DIGITS
    assert leftovers(project) == set()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digit", "did you mean digits?"),
        ("x", "expected one of digits, mnist-mlp"),
        ("../presets/digits", "unknown; "),
        ("a\nb", r"preset 'a\nb': unknown; "),
    ],
)
def test_an_unknown_name_is_one_line_under_the_list(name: str, words: str, project: Path) -> None:
    result = CliRunner().invoke(cli.app, ["preset", name])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.output.splitlines()[0] == "digits     Digits, small."
    assert not (project / "params.yaml").exists()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ("network:\n  latent_dmi: 3\n", r"network\.latent_dmi: not in the base \(presets/base\.yaml\)$"),
        ("network:\n  latent_dim: -3\n", r"network\.latent_dim: found -3; "),
        ("network:\n  latent_dim: 64\n", r"network\.latent_dim: equal to the base; remove it \(presets/base\.yaml\)$"),
        ("network: [", "not valid YAML: "),
        (None, "cannot be read "),
    ],
)
def test_a_preset_that_is_not_valid_is_not_written(changes: str | None, line: str, project: Path) -> None:
    if changes is None:
        (project / "presets/base.yaml").unlink()
    else:
        (project / "presets/digits.yaml").write_text(changes)
    for command in (["preset", "digits"], ["check", "presets/digits.yaml"]):
        result = CliRunner().invoke(cli.app, command)
        assert isinstance(result.exception, UserError)
        assert re.search(rf"^\S*presets/(digits|base)\.yaml: {line}", str(result.exception))
        assert "\n" not in str(result.exception)
    assert not (project / "params.yaml").exists()


def test_a_folder_without_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^presets: no presets found in .*; run this in the folder of"):
        gan_preset("digits")


def test_every_preset_of_this_project_is_valid_and_says_what_it_is() -> None:
    presets = known_presets(ROOT)
    assert {"digits", "photos-256"} < {preset.name for preset in presets}
    load_config(ROOT / "presets/base.yaml")
    for preset in presets:
        assert preset.description
        text = preset_text(preset.path)  # refuses what repeats the base
        assert max(map(len, text.splitlines())) <= 120
        assert parse_config(text, preset.path) == load_parameters(preset.path)
        assert load_parameters(preset.path).register_.model_name == preset.name


def test_params_yaml_is_the_preset_digits() -> None:
    assert PRESET.read_text(encoding="utf-8") == preset_text(ROOT / "presets/digits.yaml")
