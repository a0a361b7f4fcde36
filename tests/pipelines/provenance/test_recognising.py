"""Pictures without a mark are recognised by a search, and marked ones that were changed by making them again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ganlib.datasets.packed.reading import open_packed
from ganlib.errors import UserError
from ganlib.inversion.recognition import rank_of_threshold
from ganlib.marking import Origin, marked_png, read_origin
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines import paths
from pipelines.cli import app
from pipelines.provenance import recognising
from tests.quiz_project import make_project

HELD_OUT = 20


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with real digits, and a generator that was never trained, whose samples differ."""
    root = tmp_path_factory.mktemp("recognising") / "project"
    make_project(root)
    params = yaml.safe_load((root / paths.PARAMS).read_text())
    params["evaluate"]["reconstruction"] |= {"candidates": 200, "starts": 1, "steps": 30, "batch_size": 8}
    (root / paths.PARAMS).write_text(yaml.safe_dump(params))
    generator = ImageGenerator.load(root / paths.GENERATOR)
    generator.generator.output.weight.mul_(40)  # untrained, its images are nearly grey
    generator.save(root / paths.GENERATOR)
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(recognising, "MOST_HELD_OUT", HELD_OUT)
    return folder


def verify(*arguments: str) -> tuple[list[dict[str, object]], str]:
    """What is found, and what is told meanwhile."""
    ran = CliRunner().invoke(app, ["verify", "--json", *arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout), ran.stderr


def verdicts(*arguments: str) -> list[object]:
    return [each["verdict"] for each in verify(*arguments)[0]]


def test_pictures_without_a_mark(project: Path) -> None:
    """Its own are recognised, compressed and resized too; real ones and those of another generator are not."""
    own = Image.fromarray(ImageGenerator.load(paths.GENERATOR).sample(seed=5, labels=[3])[0, ..., 0])
    own.save("own.png")
    own.save("own.jpg", quality=85)
    own.resize((32, 32), Image.Resampling.BICUBIC).save("large.png")
    real = open_packed(paths.PROCESSED).test.take(np.array([100, 300]))[..., 0]
    for place, pixels in enumerate(real):
        Image.fromarray(pixels).save(f"real{place}.png")
    files = ("own.png", "own.jpg", "large.png", "real0.png", "real1.png")
    found, told = verify("--false-positives", "0.05", *files)
    assert [each["verdict"] for each in found] == ["recognised"] * 3 + ["no sign"] * 2
    assert f"searching for {HELD_OUT} held-out images too" in told
    search = found[0]["search"]
    assert isinstance(search, dict)
    assert (search["false_positive_rate"], search["held_out"]) == (0.05, HELD_OUT)
    assert search["psnr_db"] > search["threshold_db"]
    again, told = verify("--false-positives", "0.05", "own.png")
    assert again == found[:1]
    assert "held-out" not in told
    assert verdicts("--marks-only", *files) == ["no sign"] * 5
    failed = CliRunner().invoke(app, ["verify", "--false-positives", "0.01", "own.png"])
    assert "20 held-out images tell no rates below 0.048" in str(failed.exception)
    shown = CliRunner().invoke(app, ["verify", "--false-positives", "0.05", *files]).stdout
    assert "at most 5.0% of real images, as 20 held-out ones tell" in " ".join(shown.split())
    shutil.rmtree(paths.PROCESSED)
    found, _ = verify("own.png")
    assert "held-out images, is missing" in str(found[0]["search"])
    Image.new("L", (16, 16)).save("black.png")
    shown = CliRunner().invoke(app, ["verify", "black.png"]).stdout
    assert "not searched: data/processed, which has the held-out images, is missing" in " ".join(shown.split())


def test_marks_on_pictures_that_were_changed(project: Path) -> None:
    """Compressed or resized, a marked picture is still near to what it asks for; another one with its mark is not."""
    generator, sha256 = ImageGenerator.load(paths.GENERATOR), generator_sha256(paths.GENERATOR)
    asked = {"seed": 5, "label": "3", "truncation": 1.0, "index": 1}
    between = {"seed": 5, "label": "3", "toward_seed": 9, "mix": 1.0, "index": 0}
    drawn = {
        "a": (generator.sample(seed=5, labels=[3, 3])[1], asked),
        "b": (generator.sample(seed=9, labels=[3])[0], between),
        "false": (generator.sample(seed=6, labels=[3, 3])[1], asked),
    }
    for name, (pixels, request) in drawn.items():
        Path(f"{name}.png").write_bytes(marked_png(pixels, Origin(sha256, request)))
        with Image.open(f"{name}.png") as marked:
            marked.save(f"{name}.jpg", quality=85, xmp=marked.info["XML:com.adobe.xmp"].encode())
        with Image.open(f"{name}.jpg") as carried:
            assert read_origin(carried) == Origin(sha256, request)
            carried.resize((32, 32), Image.Resampling.NEAREST).save(
                f"{name}-large.jpg", quality=95, xmp=carried.info["xmp"]
            )
    files = [f"{name}{kind}" for name in drawn for kind in (".png", ".jpg", "-large.jpg")]
    near = ["made by this generator", "very near", "very near"]
    assert verdicts("--marks-only", *files) == near * 2 + ["says so, and differs"] * 3
    compressed, false = verify("--marks-only", "a.jpg", "false.jpg")[0]
    assert compressed["remade"]["psnr_db"] > compressed["remade"]["threshold_db"]  # type: ignore[index]
    assert false["remade"]["psnr_db"] < false["remade"]["threshold_db"]  # type: ignore[index]


@pytest.mark.parametrize(("held_out", "rate"), [(20, 0.05), (200, 0.01), (200, 0.05)])
def test_a_rate_is_kept(held_out: int, rate: float) -> None:
    """Of numbers from one distribution, whichever it is, the share above the threshold is the rate, and no more."""
    draws = np.random.default_rng(0).lognormal(size=(20_000, held_out + 1))
    thresholds = np.sort(draws[:, 1:], axis=1)[:, -rank_of_threshold(held_out, rate)]
    share = (draws[:, 0] > thresholds).mean()
    assert share == pytest.approx(np.floor(rate * (held_out + 1)) / (held_out + 1), abs=3 * np.sqrt(rate / 20_000))


def test_too_few_held_out_images() -> None:
    assert rank_of_threshold(99, 0.01) == 1
    with pytest.raises(UserError, match="98 held-out images tell no rates below"):
        rank_of_threshold(98, 0.01)
