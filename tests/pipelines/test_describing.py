"""A training in a line and a few parameters."""

from pathlib import Path

import pytest

from ganlib.config import RunConfig, load_config
from ganlib.training.clock import Span
from pipelines.presets import load_parameters
from pipelines.stages.describing import MOST_PARAMETERS, describe, halfway_samples, trained_note
from tests.configs import ROOT, tiny_config


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def changed(config: RunConfig, **train: object) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=train)})


def test_seed_and_length_are_in_the_name_and_so_is_what_differs_from_the_preset() -> None:
    default = load_config(Path("params.yaml"))
    assert describe(default).name == "digits · dcgan · seed 0 · 128k images"
    assert describe(changed(default, seed=1, total_images=64_000)).name == "digits · dcgan · seed 1 · 64k images"
    small = changed(default, batch_size=32, ema_half_life_images=500, total_images=640, keep_checkpoints=3)
    assert describe(small).name == (
        "digits · dcgan · seed 0 · 640 images · batch_size 32 · ema_half_life_images 500 · 1 more"
    )


def test_parameters_are_those_that_always_matter_and_those_that_differ() -> None:
    default = load_config(Path("params.yaml"))
    usual = describe(default).params
    assert usual.items() >= {"preset": "digits", "network.family": "dcgan", "train.seed": "0"}.items()
    more = describe(changed(default, ema_half_life_images=500, seed=3)).params
    assert more.items() - usual.items() == {("train.ema_half_life_images", "500"), ("train.seed", "3")}
    assert usual.keys() - more.keys() == set()


def test_every_preset_is_known_as_itself_and_shows_few_parameters() -> None:
    for path in sorted(Path("presets").glob("*.yaml")):
        if path.stem != "base":
            found = describe(load_parameters(path)).params
            assert found["preset"] == path.stem
            assert len(found) < MOST_PARAMETERS / 2


def test_what_differs_in_much_is_cut_and_a_project_without_presets_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(describe(tiny_config({})).params) <= MOST_PARAMETERS
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "base.yaml").write_text("train: 1\n")
    (tmp_path / "presets" / "broken.yaml").write_text("train: [")
    monkeypatch.chdir(tmp_path)
    assert "preset" not in describe(tiny_config({})).params


def test_samples_halfway_are_where_the_training_draws_them() -> None:
    train = load_config(Path("params.yaml")).train
    shown = []
    for total, every, batch in ((128_000, 12_800, 64), (32_000, 12_800, 64), (640, 12_800, 64), (10_000, 100, 96)):
        options = train.model_copy(update={"total_images": total, "sample_every_images": every, "batch_size": batch})
        place = halfway_samples(options)
        assert Span(place - options.images_per_iteration, place).passes_multiple_of(every)
        shown.append(place)
    assert shown == [64_000, 12_800, 12_800, 5_088]


def test_what_a_run_says_before_the_gate_has_seen_its_generator() -> None:
    told = trained_note("digits · dcgan · seed 0", "c0ffee", "640 images shown, domain/fid to the training split 1.5")
    assert told.startswith("**Trained, not yet judged.** digits · dcgan · seed 0.")
    assert told.splitlines()[-4:-1] == [
        "```",
        "git checkout c0ffee  # the code and parameters",
        "dvc repro  # everything again, from the data to this page",
    ]
    assert "checkout" not in trained_note("digits", None, "640 images shown")
