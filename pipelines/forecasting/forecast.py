"""`gan plan --photos`: what twice and five times the pictures or the time would bring, told with intervals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from scipy.special import expit, logit

from ganlib.config import RunConfig, check_data_fits, load_config
from ganlib.counting import told_time
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.errors import UserError
from ganlib.evaluation import record
from ganlib.evaluation.drawing import split_features
from ganlib.metrics.chance import chance_alarm
from ganlib.metrics.estimates import Interval, quantile
from ganlib.training.precision import prepare_device
from pipelines import paths
from pipelines.advice.machine import this_machine
from pipelines.advice.planning import Costs
from pipelines.advice.trial import TRIAL_PICTURES, measure_costs
from pipelines.console import plain_console
from pipelines.forecasting.fit import Trend, most_helped
from pipelines.forecasting.trials import (
    CELLS,
    REPEATS,
    WHOLE_TRAININGS,
    Judge,
    Measured,
    Trial,
    run_trial,
    samples_of,
    trials_of,
)
from pipelines.report.rounding import number, percent, percent_span, span
from pipelines.stages.device_slot import device_slot
from pipelines.stages.heartbeat import Heartbeat
from pipelines.stages.looking import project_extractor

Say = Callable[[str], None]
Floats = NDArray[np.float64]
FACTORS = (2, 5)
FEWEST_STEPS = 20
_WIDTH = 110


def forecast_photos(minutes: float, *, say: Say) -> None:
    """Train for about so many minutes on parts of the packed pictures of this project, and print the forecast.

    Raises:
        UserError: parameters that no short training can stand for, or a training that diverges.
    """
    config = load_config(paths.PARAMS)
    check_can_be_tried(config, minutes)
    data = open_packed(paths.PROCESSED)
    check_data_fits(config, data.manifest.counts)
    device = prepare_device(config.train)
    with device_slot([device], config.flow):
        extractor = project_extractor(config.train.extractor, config, device)
        test, train = (split_features(extractor, split, paths.FEATURES, say) for split in (data.test, data.train))
        _check_judge(config, data, test.logits)
        with Heartbeat(say, "trial") as beat:
            some = data.train.take(np.linspace(0, len(data.train) - 1, TRIAL_PICTURES).astype(np.int64))
            costs = measure_costs(config, some, data.image.classes, this_machine(), note=beat.note)
        options = config.train.model_copy(update={"threads": costs.threads})
        config = config.model_copy(update={"train": options})
        trials = tuple(trials_of(data.train, _images(config, costs, minutes), config.train.batch_size))
        say(_announced(config, trials, costs))
        found = []
        for number_, trial in enumerate(trials, start=1):
            with Heartbeat(say, f"training {number_} of {len(trials)}"):
                found.append(run_trial(config, data, Judge(extractor, test, train), trial))
            say(f"{number_} of {len(trials)}: {_told(found[-1])}")
    tell(found, config, say=say)


def check_can_be_tried(config: RunConfig, minutes: float) -> None:
    """Refuse what short trainings from nothing on parts of the pictures do not stand for.

    Raises:
        UserError: a translator, a warm start, or no time.
    """
    if not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: expected a number above 0")
    if config.data.inputs is not None:
        raise UserError("--photos: forecasts generators, found a translator; set data.inputs to null")
    if config.train.init_from is not None:
        raise UserError("--photos: forecasts trainings that start from nothing; set train.init_from to null")


def _check_judge(config: RunConfig, data: PackedData, logits: torch.Tensor) -> None:
    if config.train.extractor != "domain":
        return
    assert data.test.labels is not None
    if alarm := chance_alarm(logits.argmax(dim=1).numpy(), data.test.labels):
        raise UserError(f"--photos: {alarm}")


def _images(config: RunConfig, costs: Costs, minutes: float) -> int:
    """How many the longest short trainings show."""
    left_s = 60 * minutes - _measuring_s(config, costs)
    return max(FEWEST_STEPS * config.train.batch_size, int(left_s / WHOLE_TRAININGS / costs.train))


def _measuring_s(config: RunConfig, costs: Costs) -> float:
    return REPEATS * len(CELLS) * samples_of(config) * (costs.generate + costs.watch)


def _announced(config: RunConfig, trials: Sequence[Trial], costs: Costs) -> str:
    sizes = sorted({trial.pictures for trial in trials})
    lengths = sorted({trial.images for trial in trials})
    seconds = sum(trial.images for trial in trials) * costs.train + _measuring_s(config, costs)
    parts, shorter = (", ".join(f"{each:,}" for each in some) for some in (sizes, lengths[:-1]))
    return (
        f"{len(trials)} short trainings, about {told_time(seconds)}: on {parts} pictures with {lengths[-1]:,} images "
        f"shown, on all with {shorter}, each {REPEATS} times with other seeds"
    )


def _told(found: Measured) -> str:
    copies = "not to be told" if found.copies is None else _copies(found.copies)
    return (
        f"{found.trial.pictures:,} pictures, {found.trial.images:,} images shown, seed {found.trial.seed}: "
        f"distance {number(found.distance)}, coverage {percent(found.coverage)}, near copies {copies}"
    )


@dataclass(frozen=True)
class _Figure:
    """A row of the forecast: what is fitted, and how that is told."""

    name: str
    trend: Trend
    told: Callable[[Interval], str]


def tell(found: Sequence[Measured], config: RunConfig, *, say: Say) -> None:
    """Print the forecast of some short trainings."""
    level = config.evaluate.confidence
    pictures, images = (max(getattr(each.trial, name) for each in found) for name in ("pictures", "images"))
    table = Table("", "now", *(f"{factor} × {what}" for what in ("pictures", "time") for factor in FACTORS))
    table.title, table.title_justify = f"Trainings on {pictures:,} pictures with {images:,} images shown", "left"
    for figure in _figures(found, config, pictures, images):
        cells = [_cell(figure, name, factor, level) for name in ("pictures", "length") for factor in FACTORS]
        table.add_row(figure.name, figure.told(figure.trend.at(1, 1, level)), *cells)
    plain_console(_WIDTH).print(table)
    for line in remarks(found, config):
        say(line)


def _figures(found: Sequence[Measured], config: RunConfig, pictures: int, images: int) -> Iterator[_Figure]:
    shares, lengths = [each.trial.pictures / pictures for each in found], [each.trial.images / images for each in found]
    name = f"distance ({config.train.extractor}/fid)"
    yield _Figure(name, Trend.of(shares, lengths, np.log([each.distance for each in found]).tolist()), _distance)
    count = samples_of(config)
    inside = np.clip([each.coverage for each in found], 0.5 / count, 1 - 0.5 / count)
    yield _Figure("coverage", Trend.of(shares, lengths, logit(inside).tolist()), _share)
    copies = [each.copies for each in found if each.copies is not None]
    if len(copies) == len(found):
        chance = float(np.mean([((each.high - each.low) / 2 / quantile(each.level)) ** 2 for each in copies]))
        trend = Trend.of(shares, lengths, [each.estimate for each in copies], least_variance=chance)
        yield _Figure("near copies", trend, _copies)


def _cell(figure: _Figure, name: str, factor: int, level: float) -> str:
    at = figure.trend.at(factor, 1, level) if name == "pictures" else figure.trend.at(1, factor, level)
    unclear = "" if figure.trend.is_told(name, level) else "cannot be told: "
    return unclear + figure.told(at)


def _distance(at: Interval) -> str:
    return span(_through(np.exp, at))


def _share(at: Interval) -> str:
    return percent_span(_through(expit, at))


def _copies(at: Interval) -> str:
    return percent_span(_through(lambda ends: ends.clip(0, 1), at))


def _through(scale: Callable[[Floats], Floats], at: Interval) -> record.Interval:
    """The interval of a figure from that of what was fitted."""
    estimate, low, high = scale(np.array([at.estimate, at.low, at.high])).tolist()
    return record.Interval(estimate=estimate, low=low, high=high, level=at.level)


def remarks(found: Sequence[Measured], config: RunConfig) -> Iterator[str]:
    """What the table means, which class needs pictures the most, and how far the planned training is from it."""
    images = max(each.trial.images for each in found)
    level = percent(config.evaluate.confidence)
    yield (
        f"A further training of that size lies within each interval with {level} confidence, if the trend of these "
        "goes on. Cannot be told: from a quarter to the whole the figure does not change beyond chance."
    )
    longer = config.train.total_images / images
    if longer > FACTORS[-1]:
        yield (
            f"{paths.PARAMS} trains {longer:.0f} times as long, where pictures matter more: of that the table tells "
            "nothing; gan plan --photos --minutes N with a larger N comes nearer."
        )
    if not config.network.conditional:
        return
    if not found[0].classes:
        yield (
            "In which class more pictures would help the most cannot be told: that takes more held-out pictures of "
            "each class, and more evaluate.samples."
        )
        return
    helped = most_helped(_falls(found), config.evaluate.confidence)
    if helped is None:
        yield "In which class more pictures would help the most cannot be told."
    else:
        yield f"More pictures of {helped} would help the most: its distance fell the most from half of them to all."


def _falls(found: Sequence[Measured]) -> dict[str, list[float]]:
    """By how much each class's distance fell from half of the pictures to all, in each repetition."""
    images, sizes = max(each.trial.images for each in found), sorted({each.trial.pictures for each in found})
    longest = [each for each in found if each.trial.images == images]
    half, whole = ([each.classes for each in longest if each.trial.pictures == size] for size in sizes[-2:])
    return {name: [few[name] - all_[name] for few, all_ in zip(half, whole, strict=True)] for name in found[0].classes}
