"""`gan plan --photos`: what is tried, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from ganlib.datasets.packed.reading import Split, open_packed
from ganlib.datasets.packing.pack import pack
from ganlib.errors import UserError
from ganlib.metrics.estimates import Interval
from pipelines import cli, paths
from pipelines.forecasting.forecast import check_can_be_tried, forecast_photos, tell
from pipelines.forecasting.trials import CELLS, REPEATS, Judge, Measured, Trial, rows_of, run_trial, trials_of
from pipelines.stages import extractor
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.looking import project_extractor
from tests.configs import tiny_config, tiny_values

PARAMETERS = {
    "data.source": "images",
    "data.test_share": 0.4,
    "extractor.total_images": 640,
    "train.measure_samples": 200,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with packed data of two classes, bright and dark noise, and the classifier that tells them apart."""
    root = tmp_path_factory.mktemp("project")
    draw = np.random.default_rng(0)
    for index in range(600):
        file = root / "images" / ("dark", "light")[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        levels = draw.integers(0, 128, (16, 16)) + 128 * (index % 2)
        Image.fromarray(levels.astype(np.uint8)).save(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        paths.PARAMS.write_text(yaml.safe_dump(tiny_values(PARAMETERS)), encoding="utf-8")
        config = tiny_config({**PARAMETERS, "preprocess.workers": 1})
        pack(config.data, config.preprocess, paths.PROCESSED, scratch=root / "scratch")
        extractor.main()
    return root


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    for name in ("STEPS_S", "OTHERS_S"):
        monkeypatch.setattr(f"pipelines.advice.trial.{name}", 0.01)
    monkeypatch.setattr("pipelines.advice.trial.STAGE", "json")  # which starts at once
    return made


def test_pictures_of_a_smaller_part_are_in_a_larger_one_and_all_classes_are_in_each() -> None:
    labels = np.repeat(np.arange(3), (400, 80, 3))
    split = Split("train", "", labels, [np.zeros((483, 4, 4, 1), np.uint8)], np.array([0, 483]))
    quarter, half, whole = (rows_of(split, share) for share in (0.25, 0.5, 1.0))
    assert set(quarter) < set(half) < set(whole) == set(range(483))
    assert np.bincount(labels[quarter]).tolist() == [100, 20, 1]
    assert np.bincount(labels[half]).tolist() == [200, 40, 2]
    trials = list(trials_of(split, 1000, 64))
    assert [trial.seed for trial in trials] == list(range(REPEATS * len(CELLS)))
    assert {trial.images for trial in trials} == {256, 512, 1024}
    assert {trial.images for trial in trials if trial.pictures < 483} == {1024}


def test_a_trial_is_a_training_on_its_part_and_the_same_when_repeated(project: Path) -> None:
    config, data = tiny_config(PARAMETERS), open_packed(paths.PROCESSED)
    device = prepare_evaluation(config.evaluate)
    by = project_extractor("domain", config, device)
    judge = Judge(by, *(by.extract_all(split.batches()) for split in (data.test, data.train)))
    part = len(rows_of(data.train, 0.5))
    found, again, other, longer = (
        run_trial(config, data, judge, Trial(part, images, seed))
        for images, seed in ((64, 0), (64, 0), (64, 1), (640, 0))
    )
    assert found == again != other
    assert found.distance > 1.5 * longer.distance
    assert found.copies is not None
    assert set(found.classes) == {"dark", "light"}


def test_a_forecast_of_a_real_project_says_what_it_does_and_what_came(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    forecast_photos(0.01, say=heard.append)
    announced = next(line for line in heard if "short trainings" in line)
    size = len(open_packed(paths.PROCESSED).train)
    assert announced.startswith("10 short trainings, about ")
    assert f"{size} pictures with " in announced
    assert sum(" of 10: " in line and "distance" in line for line in heard) == len(CELLS) * REPEATS
    table = capsys.readouterr().out
    assert f"Trainings on {size} pictures" in table
    assert all(row in table for row in ("distance", "coverage", "near copies", "5 × pictures", "5 × time"))


def measured(pictures_matter: bool) -> list[Measured]:
    """What a law without much noise gives."""
    draw, found = np.random.default_rng(0), []
    for seed, (share, length) in enumerate(REPEATS * CELLS):
        lift = (1 if pictures_matter else 0) * np.log(share)
        classes = {f"c{k}": 100 - (10 + 40 * (k == 2)) * lift + draw.normal() for k in range(4)}
        found.append(
            Measured(
                Trial(round(4000 * share), round(6400 * length), seed),
                float(np.exp(4 - 0.3 * lift - 0.5 * np.log(length) + 0.01 * draw.normal())),
                float(1 / (1 + np.exp(-lift - 0.02 * draw.normal()))),
                Interval(0.0, -0.001, 0.001, 0.95),
                classes,
            )
        )
    return found


def test_what_is_shown_is_told_and_what_is_not_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config({"train.total_images": 640_000})
    heard: list[str] = []
    tell(measured(pictures_matter=True), config, say=heard.append)
    distance = next(line for line in capsys.readouterr().out.splitlines() if "distance" in line)
    assert "cannot be told" not in distance
    truth = np.exp(4 - 0.3 * np.log(2))
    low, high = (float(each) for each in distance.split("│")[3].split(" to "))
    assert low < truth < high < 1.1 * low
    assert any(line.startswith("More pictures of c2 would help the most") for line in heard)
    assert any("params.yaml trains 100 times as long" in line for line in heard)

    tell(measured(pictures_matter=False), config, say=heard.append)
    cells = next(line for line in capsys.readouterr().out.splitlines() if "distance" in line).split("│")
    assert ["cannot be told" in cell for cell in cells[3:7]] == [True, True, False, False]
    assert heard[-1] == "In which class more pictures would help the most cannot be told."


@pytest.mark.parametrize(
    ("changes", "minutes", "line"),
    [
        ({}, 0.0, "--minutes 0: expected"),
        (
            {"train.init_from": {"source": "models:/a@b", "sha256": "0" * 16, "freeze_critic_layers": 0}},
            1.0,
            "init_from",
        ),
    ],
)
def test_what_short_trainings_do_not_stand_for_is_refused(changes: dict[str, Any], minutes: float, line: str) -> None:
    with pytest.raises(UserError, match=line):
        check_can_be_tried(tiny_config(changes), minutes)


@pytest.mark.parametrize(
    ("options", "named"), [(["--minutes", "1"], "--minutes"), (["--photos", "--force"], "--force")]
)
def test_options_that_do_not_belong_together_are_refused(options: list[str], named: str) -> None:
    result = CliRunner().invoke(cli.app, ["plan", *options])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(f"{named}: ")
