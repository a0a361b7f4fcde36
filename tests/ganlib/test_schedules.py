"""Schedules against their closed forms."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ganlib.config import Schedule
from ganlib.schedules import cut_short, follow_run, schedules_of, value_at
from pipelines.presets import Preset, known_presets, load_parameters, preset_text
from tests.configs import ROOT, tiny_config

TOTAL = 4000
RATE = "train.critic_optimizer.learning_rate"


def schedule(shape="linear", *, start=2.0, end=0.5, over: int | None = 1000, warmup=0) -> Schedule:
    return Schedule(shape=shape, start=start, end=end, over_images=over, warmup_images=warmup)


def test_a_number_is_a_constant() -> None:
    assert value_at(0.3, 0, TOTAL) == value_at(0.3, 10**9, TOTAL) == 0.3


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_start_middle_end_and_after(shape: str) -> None:
    figure = schedule(shape)
    values = [value_at(figure, seen, TOTAL) for seen in (0, 500, 1000, 5000)]
    assert values == pytest.approx([2.0, 1.25, 0.5, 0.5])


def test_cosine_is_flat_at_both_ends() -> None:
    figure = schedule("cosine")
    assert value_at(figure, 250, TOTAL) == pytest.approx(2.0 - 1.5 * (1 - 2**-0.5) / 2)


def test_warm_up_scales_from_zero() -> None:
    figure = schedule(warmup=100)
    assert value_at(figure, 0, TOTAL) == 0.0
    assert value_at(figure, 50, TOTAL) == pytest.approx(value_at(schedule(), 50, TOTAL) / 2)
    assert value_at(figure, 100, TOTAL) == value_at(schedule(), 100, TOTAL)


@given(st.sampled_from(["linear", "cosine"]), st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 3000))
def test_always_between_the_ends(shape: str, start: float, end: float, seen: int) -> None:
    value = value_at(schedule(shape, start=start, end=end), seen, TOTAL)
    assert min(start, end) - 1e-9 <= value <= max(start, end) + 1e-9


@given(st.sampled_from(["linear", "cosine"]), st.integers(1, 10**9), st.integers(0, 10**9))
def test_null_is_the_whole_run_to_the_bit(shape: str, total: int, seen: int) -> None:
    assert value_at(schedule(shape, over=None), seen, total) == value_at(schedule(shape, over=total), seen, 1)


@pytest.mark.parametrize("preset", known_presets(ROOT), ids=lambda preset: preset.name)
@pytest.mark.parametrize("factor", [0.5, 3])
def test_a_preset_of_another_length_ends_where_it_would_have_ended(preset: Preset, factor: float) -> None:
    """So that a shorter run ends at the recipe's last rate, and not halfway."""
    config = load_parameters(preset.path)
    total = round(config.train.total_images * factor)
    for name, each in schedules_of(config).items():
        assert value_at(each, total, total) == pytest.approx(each.end), name
    assert cut_short(config) is None


def test_what_follows_the_run_is_known() -> None:
    for over, start, expected in ((None, 2e-4, True), (96, 2e-4, False), (None, 0.0, False)):
        rate = {"shape": "linear", "start": start, "end": 0.0, "over_images": over, "warmup_images": 0}
        assert follow_run(tiny_config({"loss.r1.weight": rate, "network.critic_norm": "none"})) is expected


def test_a_schedule_that_the_run_cuts_off_is_named_with_what_it_stops_at() -> None:
    rate = {"shape": "linear", "start": 2e-4, "end": 0.0, "over_images": 192, "warmup_images": 0}
    line = cut_short(tiny_config({RATE: rate, "train.total_images": 96}))
    assert line is not None
    assert "\n" not in line
    assert "train.total_images=96" in line
    assert f"{RATE} (at 0.0001 instead of 0, after 192 images)" in line
    assert cut_short(tiny_config({RATE: rate, "train.total_images": 192})) is None
    assert cut_short(tiny_config({RATE: {**rate, "over_images": None}})) is None


@pytest.mark.parametrize("over", [None, 1])
def test_a_warm_up_beyond_the_run_is_named_too(over: int | None) -> None:
    constant = {"shape": "linear", "start": 4e-4, "end": 4e-4, "over_images": over, "warmup_images": 192}
    line = cut_short(tiny_config({RATE: constant, "train.total_images": 96}))
    assert line is not None
    assert f"{RATE} (at 0.0002 instead of 0.0004, after 192 images)" in line


def test_the_names_are_those_of_the_file() -> None:
    path = ROOT / "presets" / "cifar10-r3gan.yaml"
    values = yaml.safe_load(preset_text(path))
    found = schedules_of(load_parameters(path))
    assert len(found) == 7
    for name, each in found.items():
        section = values
        for part in name.split("."):
            section = section[part]
        assert Schedule.model_validate(section) == each
