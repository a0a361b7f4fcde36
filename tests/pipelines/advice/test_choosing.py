"""Whatever the pictures and the machine are like, what is chosen is a valid run that the data fit."""

from dataclasses import replace

import pytest

from ganlib.config import DataCounts, ExtractorName, RunConfig, misfits, parse_config
from ganlib.schedules import value_at
from pipelines.advice.choosing import (
    Choice,
    classes_are_used,
    cleaning_choices,
    data_choices,
    held_out_share,
    network_choices,
    preset_for,
    recipe_choices,
    size_for,
)
from pipelines.advice.look import Look
from pipelines.advice.machine import Machine
from pipelines.advice.pictures import Pictures
from pipelines.advice.planning import Costs, forecast, length_choices, too_slow
from pipelines.advice.telling import expectations, recommendations
from pipelines.advice.writing import written
from pipelines.presets import find_preset, known_presets, load_parameters
from tests.configs import ROOT

CPU, GPU = Machine(None, 2, 8.0), Machine("A card", 16, 60.0)
LOOK = Look("data/raw/mine", "auto", None, False, 300, 0, (), (100,) * 300, 0, 0, 0)
COSTS = Costs(
    threads=2, train=0.01, generate=0.001, watch=0.004, evaluate=0.03, judge=0.002, classify=0.001, compare=1e-10,
    start=8.0, memory_gib=1.0,
)  # fmt: skip
PRESETS = known_presets(ROOT)


def pictures_of(count: int, classes: int, share: float) -> Pictures:
    test = round(share * count)
    each = {f"class {place}": count // classes for place in range(classes)}
    return Pictures(count - test, test, each, False, count, 0, 0, 0)


def chosen(
    count: int, classes: int, size: int, machine: Machine, minutes: float = 30.0
) -> tuple[str, RunConfig, Pictures, list[Choice]]:
    """All that a start chooses, without reading or measuring anything."""
    pictures = pictures_of(count, classes, held_out_share(count)[0])
    preset, _ = preset_for(count, size, machine)
    file = find_preset(preset, PRESETS).path
    choices = list(data_choices(replace(LOOK, files=count), size, "as asked", count))
    labelled, why = classes_are_used(pictures.classes)
    if not labelled:
        pictures = replace(pictures, classes={})
    choices += cleaning_choices(pictures, load_parameters(file).data.cleaning)
    network = load_parameters(file).network.model_dump()
    choices += network_choices(preset, size, network, labelled=labelled, has_weights=True)
    evaluator: ExtractorName = "domain" if labelled else "random"
    batch = parse_config(written(file, choices, []), file).train.batch_size
    choices += recipe_choices(pictures, batch, labelled=labelled, why=why, evaluator=evaluator, why_evaluator="a test")
    trial = parse_config(written(file, choices, []), file)
    choices += length_choices(trial, pictures, COSTS, minutes, 0.1)
    text = written(file, choices, ["for a test"])
    return text, parse_config(text, file), pictures, choices


@pytest.mark.parametrize(
    ("count", "classes", "machine", "sizes"),
    [
        (80, 1, CPU, (32,)),
        (300, 3, CPU, (16, 64)),
        (300, 40, GPU, (32, 256)),
        (2000, 1, GPU, (128,)),
        (50_000, 3, CPU, (32,)),
    ],
)
def test_what_is_chosen_is_valid_and_fits(count: int, classes: int, machine: Machine, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        text, config, pictures, choices = chosen(count, classes, size, machine)
        counts = DataCounts(pictures.train, pictures.test, len(pictures.classes))
        assert misfits(config, counts) == []
        assert config.data.image_size == size
        assert (config.evaluate.latent.kept_share is None) == (pictures.test < 100)
        for choice in choices:
            assert not choice.reason or choice.reason.split()[0] in text
        assert max(map(len, text.splitlines())) <= 120
        told = [*expectations(config, pictures, forecast(config, pictures, COSTS), machine)]
        assert told[0].startswith("gan repro takes about ")
        list(recommendations(config, pictures, machine))


@pytest.mark.parametrize(
    ("count", "classes", "size", "batch", "rate"),
    [(3000, 10, 32, 64, 0.003), (3000, 1, 32, 32, 0.002), (300, 3, 32, 32, 0.002), (3000, 10, 64, 32, 0.002)],
)
def test_thousands_in_classes_are_learned_in_larger_batches(
    count: int, classes: int, size: int, batch: int, rate: float
) -> None:
    _, config, _, _ = chosen(count, classes, size, CPU)
    assert config.train.batch_size == batch
    for options in (config.train.generator_optimizer, config.train.critic_optimizer):
        assert value_at(options.learning_rate, 0, config.train.total_images) == rate


def test_lengths_keep_to_the_time_and_the_budget() -> None:
    for minutes in (2.0, 600.0):
        _, config, pictures, _ = chosen(3000, 1, 32, CPU, minutes)
        spent = forecast(config, pictures, COSTS).stages["train"]
        assert 0.6 * 60 * minutes <= spent <= 1.15 * 60 * minutes + 60
        snapshots = config.train.total_images // config.train.measure_every_images
        measuring_s = snapshots * config.train.measure_samples * (COSTS.generate + COSTS.watch)
        assert measuring_s <= 0.1 * 60 * minutes


def test_a_machine_ten_times_as_slow_takes_ten_times_as_long() -> None:
    _, config, pictures, _ = chosen(3000, 3, 32, CPU)
    names = ("train", "generate", "watch", "evaluate", "judge", "classify", "compare", "start")
    slow = replace(COSTS, **{name: 10 * getattr(COSTS, name) for name in names})
    quick, slowly = (forecast(config, pictures, costs).stages for costs in (COSTS, slow))
    for stage in ("extractor", "train", "evaluate", "register"):
        assert slowly[stage] == pytest.approx(10 * quick[stage])


def test_near_copies_among_many_pictures_take_long() -> None:
    _, config, pictures, _ = chosen(50_000, 3, 32, CPU)
    alike, apart = (forecast(config, pictures, replace(COSTS, compare=each)).stages["evaluate"] for each in (0, 1e-10))
    # Each training picture beside all others, in pixels.
    assert apart - alike > 1e-10 * pictures.train**2 * 32 * 32 * 3


def test_what_is_shown_in_a_very_short_training_is_told() -> None:
    _, config, pictures, _ = chosen(3000, 1, 32, CPU, minutes=0.1)
    told = list(expectations(config, pictures, forecast(config, pictures, COSTS), CPU))
    assert not any("shown 0 times" in line for line in told)
    assert any(f"{config.train.total_images} pictures are shown in all" in line for line in told)


def test_an_evaluation_longer_than_the_training_is_too_slow() -> None:
    _, config, pictures, _ = chosen(3000, 1, 32, CPU)
    assert not too_slow(config, pictures, COSTS, 30.0)
    assert too_slow(config, pictures, replace(COSTS, evaluate=1.0), 30.0)


@pytest.mark.parametrize(
    ("side", "machine", "size"),
    [(8, CPU, 16), (28, CPU, 32), (32, CPU, 32), (70, CPU, 64), (900, CPU, 64), (900, GPU, 256)],
)
def test_the_size_follows_pictures_and_machine(side: int, machine: Machine, size: int) -> None:
    assert size_for(replace(LOOK, sides=(side,) * 9), machine)[0] == size


def test_classes_colours_and_twins() -> None:
    assert classes_are_used({"a": 100, "b": 60})[0]
    assert not classes_are_used({"a": 100})[0]
    assert not classes_are_used({f"{day}": 10 for day in range(40)})[0]
    values = {choice.name: choice.value for choice in data_choices(replace(LOOK, grey=300), 32, "", 300)}
    assert values["data.channels"] == 1
    for bright, background in ((0, [255, 255, 255]), (300, [0, 0, 0])):
        icons = replace(LOOK, transparent=300, bright=bright)
        values = {choice.name: choice.value for choice in data_choices(icons, 32, "", 300)}
        assert (values["data.background"], values["data.fit"]) == (background, "pad")
    video = Pictures(900, 100, {}, False, 1200, 200, 300, 80)
    cleaning = load_parameters(find_preset("photos-few", PRESETS).path).data.cleaning
    (allowed, policy) = cleaning_choices(video, cleaning)
    assert allowed.value == 0.18
    assert policy.value["near_duplicate"] == "drop"


def test_a_rare_class_is_named() -> None:
    _, config, pictures, _ = chosen(3000, 3, 32, CPU)
    skewed = replace(pictures, classes={"apples": 40, "pears": 1500, "plums": 1460})
    assert any(
        "more pictures of apples, of which there are 40" in line for line in recommendations(config, skewed, CPU)
    )


def test_folders_for_kinds_would_help_where_there_are_none() -> None:
    advised = {}
    for classes in (1, 3):
        _, config, pictures, _ = chosen(3000, classes, 32, CPU)
        lines = list(recommendations(config, pictures, CPU))
        advised[classes] = any(line.startswith("a folder for each kind of picture, of 50 or more") for line in lines)
    assert advised == {1: True, 3: False}
