"""Images that are drawn here are recognised; others are not."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganlib.marking import SOURCE_TYPE, Origin, marked_png, pixels_sha256
from ganlib.packaging import generator_sha256
from pipelines import paths
from pipelines.cli import app
from pipelines.provenance import made
from pipelines.provenance.credential import read
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
        "made by this generator", "in the log", "very near", "says so", "no sign", "no sign",
    ]  # fmt: skip
    assert (entry.by, entry.request["seed"], entry.request["label"]) == ("gan sample", 5, "two")
    shutil.rmtree(paths.MADE)
    assert verdicts("grid.png", "bare.png") == ["made by this generator", "no sign"]
    shown = run("verify", "grid.png", "real.png")
    assert "seed 5" in shown
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


def test_credentials(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed file is intact until a byte of it changes; another certificate of one's own, or one that is none."""
    run("sample", "--output", "a.png", "--seed", "5", "--count", "3")
    run("sample", "--output", "b.png", "--seed", "5", "--count", "3")
    signed = Path("a.png").read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("b.png")))
    credentials = [each["credential"] for each in json.loads(run("verify", "--json", "a.png", "b.png"))]
    assert credentials == [{"intact": True, "issuer": "ganlib, self-made", "trusted": False}] * 2
    assert (paths.CREDENTIAL / "key.pem").stat().st_mode & 0o777 == 0o600
    import c2pa

    with c2pa.Reader("image/png", io.BytesIO(signed)) as reader:
        manifest = reader.get_active_manifest()
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    assert assertions["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == SOURCE_TYPE
    assert assertions["org.ganlib.origin"]["generator_sha256"] == generator_sha256(paths.GENERATOR)
    assert assertions["org.ganlib.origin"]["request"]["seed"] == 5
    for place in (signed.index(b"IDAT") + 12, signed.index(b"org.ganlib.origin") + 40, signed.index(b"trainedAlg") + 3):
        flipped = bytearray(signed)
        flipped[place] ^= 1
        found = read(bytes(flipped))
        assert found is not None
        assert not found.intact
    assert read(marked_png(np.zeros((4, 4, 1), dtype=np.uint8), Origin("ab" * 32, {}))) is None
    own = folder / "own"
    shutil.copytree(paths.CREDENTIAL, own)
    monkeypatch.setenv("GANLIB_CREDENTIAL", str(own))
    run("sample", "--output", "c.png", "--count", "3")
    (own / "certificate.pem").write_text("none")
    failed = CliRunner().invoke(app, ["sample", "--output", "d.png", "--count", "3"])
    assert "cannot sign with this certificate" in str(failed.exception)
    (own / "key.pem").unlink()
    failed = CliRunner().invoke(app, ["sample", "--output", "d.png", "--count", "3"])
    assert "GANLIB_CREDENTIAL" in str(failed.exception)
    assert not Path("d.png").exists()
