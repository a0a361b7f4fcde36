"""`gan judge` on files of all sorts: what it says, and what it says when there is nothing to say."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlib.datasets.packed.reading import open_packed
from ganlib.packaging import ImageGenerator
from pipelines import cli, paths
from pipelines.stages import extractor
from tests.configs import TINY
from tests.quiz_project import make_project

SAMPLES = TINY["evaluate.samples"]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the classifier that the extractor stage trains."""
    root = tmp_path_factory.mktemp("judging") / "project"
    make_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        extractor.main()
    return root


@pytest.fixture
def judge(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["gan", "judge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run


def save(name: str, pixels: np.ndarray) -> str:
    Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels).save(name)
    return name


def held_out(index: int) -> np.ndarray:
    return open_packed(paths.PROCESSED).test.take(np.array([index]))[0]


def test_files_of_any_size_and_kind_are_judged(judge: Command) -> None:
    train = open_packed(paths.PROCESSED).train
    copied = train.take(np.array([17]))[0]
    noise = np.random.default_rng(0).integers(0, 256, (50, 40, 4), dtype=np.uint8)
    files = [save("copied.png", copied), save("held [out].bmp", held_out(200)), save("noise.webp", noise)]
    said = judge(*files, "--json", "--picture", "beside.png")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert (told["compared"], told["extractor"]) == (SAMPLES, "domain")
    first, second, third = told["images"]
    assert [each["image"] for each in told["images"]] == files
    assert (first["near_copy"], first["nearest"][0]["index"], first["as_close"]) == (True, 17, 0)
    assert train.labels is not None
    assert first["nearest"][0]["label"] == str(train.labels[17])
    assert not second["near_copy"]
    assert second["features"]["held_out"] > third["features"]["held_out"]
    with Image.open("beside.png") as picture:
        shown = np.asarray(picture)
    assert (shown[:64:4, :64:4] == copied[..., 0]).all()
    assert (shown[:64:4, 80:144:4] == copied[..., 0]).all()  # the nearest training image is itself


def test_the_table_says_it_in_words(judge: Command) -> None:
    said = judge(save("[bold] digit.png", held_out(5)))
    assert said.code == 0, said.err
    assert "[bold] digit.png" in said.out
    for words in (
        f"of {SAMPLES} held-out",
        f"of {SAMPLES} generated",
        "to the critic",
        "to domain features",
        "class: ",
        " %)",
    ):
        assert words in said.out
    assert "near copy: no, " in said.out
    assert said.out.count(" at ") == 5


def test_a_file_of_no_use_does_not_keep_others_from_being_judged(judge: Command) -> None:
    Path("text.png").write_text("hello")
    Path("empty.png").touch()
    Path("folder.png").mkdir()
    save("grey.png", np.full((16, 16, 1), 128, np.uint8))
    good = save("good.png", held_out(5))
    files = ["text.png", good, "empty.png", "folder.png", "missing.png", "grey.png"]
    said = judge(*files, "--json")
    assert said.code == 2
    assert [each["image"] for each in json.loads(said.out)["images"]] == [good]
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [name for name in files if name != good]
    assert "near_constant" in errors[-1]
    nothing = judge("text.png", "missing.png")
    assert (nothing.code, nothing.out) == (2, "")
    assert len(nothing.err.splitlines()) == 2


def test_a_label_is_for_the_critic(judge: Command) -> None:
    file = save("digit.png", held_out(5))
    told = [json.loads(judge(file, "--json", "--label", label).out)["images"][0] for label in ("0", "7")]
    assert told[0]["critic"] != told[1]["critic"]
    assert told[0]["features"] == told[1]["features"]
    assert one_error(judge(file, "--label", "ten")).startswith("error: --label ten: unknown, expected one of 0, 1, 2")


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (paths.PROCESSED, "run the preprocess stage"),
        (paths.EXTRACTOR, "run the extractor stage"),
        (paths.GENERATOR, "generator.json: missing"),
        (paths.PARAMS, "params.yaml"),
    ],
)
def test_what_is_missing_to_judge_by_is_one_line(missing: Path, told: str, judge: Command) -> None:
    file = save("digit.png", held_out(5))
    shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
    assert told in one_error(judge(file))


def test_a_generator_without_its_critic_is_one_line(judge: Command) -> None:
    file = save("digit.png", held_out(5))
    ImageGenerator.load(paths.GENERATOR).save(paths.GENERATOR)
    assert "without its critic" in one_error(judge(file))


def one_error(said: Said) -> str:
    assert said.code == 2
    (line,) = (line for line in said.err.splitlines() if line.startswith("error: "))
    return line
