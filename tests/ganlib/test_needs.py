"""What a run asks of its data."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ganlib.config import DataCounts, RunConfig, check_data_fits, misfits
from ganlib.errors import UserError
from pipelines.presets import load_parameters
from tests.configs import PAIRED, ROOT, UNPAIRED, tiny_config

PHOTOS = ROOT / "presets" / "photos-256.yaml"


def named(lines: list[str]) -> list[str]:
    return [re.split("[=:]", line)[0] for line in lines]


def test_all_that_does_not_fit_is_named_at_once() -> None:
    config = tiny_config(
        {
            "train.batch_size": 64,
            "train.class_balanced": True,
            "evaluate.kid_subset_size": 50,
            "evaluate.neighbours": 12,
        }
    )
    lines = misfits(config, DataCounts(train=40, test=12, classes=0))
    assert named(lines) == [
        "network.conditional",
        "train.class_balanced",
        "train.extractor",
        "evaluate.extractor",
        "register.metric",
        "train.batch_size",
        "evaluate.kid_subset_size",
        "evaluate.neighbours",
        "register.metric",
    ]
    with pytest.raises(UserError) as caught:
        check_data_fits(config, DataCounts(train=40, test=12, classes=0))
    assert str(caught.value).splitlines() == lines


@pytest.mark.parametrize("accumulation", [1, 3])
def test_the_values_named_would_do(accumulation: int) -> None:
    config = tiny_config(
        {
            "train.batch_size": 96,
            "train.accumulation": accumulation,
            "evaluate.samples": 300,
            "evaluate.kid_subset_size": 50,
            "evaluate.neighbours": 24,
            "data.test_share": 0.05,
            "register.metric": "domain/coverage",
        }
    )
    counts = DataCounts(train=95, test=24, classes=2)
    told = dict(zip(named(lines := misfits(config, counts)), lines, strict=True))
    batch_size = int(re.search(r"lower it to (\d+)", told["train.batch_size"])[1])  # type: ignore[index]
    mended = {
        "train.batch_size": batch_size,
        "evaluate.kid_subset_size": int(re.search(r"to (\d+)", told["evaluate.kid_subset_size"])[1]),  # type: ignore[index]
        "evaluate.neighbours": int(re.search(r"to (\d+)", told["evaluate.neighbours"])[1]),  # type: ignore[index]
        "register.metric": re.search(r"set register.metric to (\S+),", told["register.metric"])[1],  # type: ignore[index]
    }
    assert 95 / 2 / accumulation < batch_size <= 95
    changes = {"train.accumulation": accumulation, "evaluate.samples": 300, "data.test_share": 0.05, **mended}
    assert misfits(tiny_config(changes), counts) == []


def test_the_share_named_holds_out_enough_whatever_the_contents() -> None:
    config = tiny_config({"register.metric": "domain/fid", "extractor.feature_dim": 64, "data.test_share": 0.05})
    *_, line = misfits(config, DataCounts(train=400, test=20, classes=10))
    share = float(re.search(r"raise data.test_share to ([0-9.]+)", line)[1])  # type: ignore[index]
    _, least = config.images_for_the_gate
    held_out = np.random.default_rng(0).binomial(420, share, 2000)
    assert np.mean(held_out >= least) > 0.99
    assert share < 0.5


def test_where_no_share_would_do_the_line_says_how_many_images_would() -> None:
    config = tiny_config({"extractor.feature_dim": 64})
    *_, line = misfits(config, DataCounts(train=90, test=30, classes=10))
    assert "provide more images (about 3" in line
    assert "or set register.metric to domain/kid, which needs 20" in line


@pytest.mark.parametrize("classes", [1, 0])
def test_domain_features_need_classes(classes: int) -> None:
    config = tiny_config({"network.conditional": False})
    found = {1: "found one class only in data.source", 0: "found no labels in data.source"}[classes]
    lines = misfits(config, DataCounts(train=None, test=None, classes=classes))
    assert named(lines) == ["train.extractor", "evaluate.extractor", "register.metric"]
    assert all(found in line for line in lines)
    assert misfits(config, DataCounts(train=None, test=None, classes=2)) == []


def photos(count: int, seed: int, config: RunConfig) -> DataCounts:
    test = int(np.random.default_rng(seed).binomial(count, config.data.test_share))
    return DataCounts(train=count - test, test=test, classes=0)


def test_the_preset_for_some_hundred_photos_takes_120() -> None:
    config = load_parameters(PHOTOS)
    refused = sum(bool(misfits(config, photos(120, seed, config))) for seed in range(2000))
    assert refused <= 2


def test_two_classes_that_are_translated_are_looked_for_and_counted() -> None:
    inputs = {"kind": "classes", "input": "horse", "output": "zebra"}
    config = tiny_config({**UNPAIRED, "data.inputs": inputs, "evaluate.kid_subset_size": 50})
    absent = DataCounts(train=400, test=90, classes=2, test_per_class={"ass": 40, "zebra": 50})
    (line,) = misfits(config, absent)
    assert line.startswith("data.inputs.input=horse: no such class in data.source, found ass, zebra; ")
    assert misfits(config, replace(absent, test_per_class={"horse": 90, "zebra": 200})) == []
    for fewer in ({"horse": 900, "zebra": 30}, {"horse": 30, "zebra": 900}):
        lines = misfits(config, replace(absent, test=930, test_per_class=fewer))
        assert lines[0].startswith("evaluate.kid_subset_size=50: needs at least 50 held-out images, found 30")


def test_a_translator_learns_from_what_it_is_not_scored_on() -> None:
    config = tiny_config({**PAIRED, "train.measure_samples": 40, "train.batch_size": 48})
    lines = misfits(config, DataCounts(train=72, test=60, classes=3))
    assert named(lines) == ["train.measure_samples", "train.batch_size"]
    assert "found 72; lower it to 36 or provide more images" in lines[0]
    config = tiny_config({**PAIRED, "train.measure_samples": 24, "train.batch_size": 48})
    assert misfits(config, DataCounts(train=72, test=60, classes=3)) == []
