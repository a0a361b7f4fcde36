"""Images that are drawn here are recognised; others are not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganlib.marking import Origin, marked_png, pixels_sha256
from pipelines import paths
from pipelines.cli import app
from pipelines.provenance import made
from pipelines.provenance.made import find, record
from tests.registered import make_generator

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a generator, as the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    make_generator(paths.GENERATOR, 1)
    return tmp_path


def run(*arguments: str) -> str:
    found = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def verdicts(*files: str) -> list[str]:
    return [each["verdict"] for each in json.loads(run("verify", "--json", *files))]


def test_what_is_said_of_images(folder: Path) -> None:
    run("sample", "--output", "grid.png", "--seed", "5", "--count", "7", "--label", "two")
    grid = np.asarray(Image.open("grid.png"))
    Image.fromarray(grid).save("bare.png")
    changed = grid.copy()
    changed[0, 0] ^= 1
    (entry,) = find([pixels_sha256(grid[:, :, None])]).values()
    Path("changed.png").write_bytes(marked_png(changed[:, :, None], Origin(entry.generator_sha256, entry.request)))
    Path("foreign.png").write_bytes(marked_png(changed[:, :, None], Origin("cd" * 32, entry.request)))
    Image.fromarray(255 - grid).save("real.png")
    Image.fromarray(grid).save("lossy.jpg", quality=85)
    assert verdicts("grid.png", "bare.png", "changed.png", "foreign.png", "real.png", "lossy.jpg") == [
        "made by this generator", "in the log", "says so, and differs", "says so", "no sign", "no sign",
    ]  # fmt: skip
    assert (entry.by, entry.request["seed"], entry.request["label"]) == ("gan sample", 5, "two")
    shutil.rmtree(paths.MADE)
    assert verdicts("grid.png", "bare.png") == ["made by this generator", "no sign"]
    shown = run("verify", "grid.png", "real.png")
    assert "label two" in shown
    assert "does not show that it is real" in shown


def test_the_log_is_rotated_and_read_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_MOST_BYTES", 1000)
    images = [np.full((4, 4, 1), value, dtype=np.uint8) for value in range(20)]
    for seed, image in enumerate(images):
        record([(image, Origin("ab" * 32, {"seed": seed, "label": None}))], by="a test")
    files = sorted(paths.MADE.glob("*.jsonl"))
    assert len(files) > 2
    assert all(file.stat().st_size < 1400 for file in files)
    found = find(pixels_sha256(image) for image in images)
    assert [found[pixels_sha256(image)].request for image in images] == [{"seed": seed} for seed in range(20)]
    assert find([pixels_sha256(images[0] + 100)]) == {}


def test_files_that_are_no_images(folder: Path) -> None:
    Path("text.png").write_text("text")
    for name, line in (("text.png", "cannot be read as an image"), ("none.png", "no such file")):
        failed = CliRunner().invoke(app, ["verify", name])
        assert line in str(failed.exception)
