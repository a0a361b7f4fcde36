"""How long each stage takes on this machine, and the lengths that fit the time that a training may take."""

from collections.abc import Iterator
from dataclasses import dataclass

from ganlib.config import RunConfig
from ganlib.counting import told_time
from ganlib.evaluation.workload import workload_of
from pipelines.advice.choosing import Choice
from pipelines.advice.pictures import Pictures

# Of the training's time: what the classifier may take, and the evaluation.
CLASSIFIER_SHARE, EVALUATION_SHARE = 0.15, 0.3
SNAPSHOTS, _FEWER_SNAPSHOTS = 10, (5, 2)
LONGEST_IMAGES, LARGEST_HALF_LIFE = 25_600_000, 20_000
HALF_LIFE_SHARE = 0.07
_SAMPLES = (10_000, 5_000, 2_000, 1_000, 500)
_SNAPSHOT_SAMPLES = (5_000, 2_000, 1_000, 500, 250)
_MOST_CLASSIFIER_IMAGES, _EPOCHS = 150_000, 30
# With fewer the classifier knows its classes no better than chance, and nothing that it measures means anything.
_LEAST_CLASSIFIER_IMAGES, _LEAST_EPOCHS = 20_000, 10
# Python, libraries and tracking, of each stage.
START_S = 10.0
# The root of a covariance of 2,048 features; the figures of an evaluation, their intervals, pictures and records.
ROOT_S, FIGURES_S = 8.0, 20.0


@dataclass(frozen=True)
class Costs:
    """What was measured on this machine, in seconds an image.

    Attributes:
        threads: with which the training was the quickest.
        train: of training, both networks.
        generate: of the generator alone.
        watch: of the extractor that picks the snapshot.
        evaluate: of the extractor that evaluates.
        classify: of training the domain classifier; 0 where there is none.
        memory_gib: at most, so far.
    """

    threads: int
    train: float
    generate: float
    watch: float
    evaluate: float
    classify: float
    memory_gib: float


@dataclass(frozen=True)
class Forecast:
    """Seconds of each stage, and GiB of memory."""

    stages: dict[str, float]
    memory_gib: float

    @property
    def total(self) -> float:
        """Seconds, from `gan repro` to the end."""
        return sum(self.stages.values())


def length_choices(
    config: RunConfig, pictures: Pictures, costs: Costs, minutes: float, measure_share: float
) -> Iterator[Choice]:
    """How long everything is, so that the training takes so many minutes, and measuring a share of them at most.

    What may be measured becomes counts, once: no result depends on how quick a later run is.
    """
    training_s = 60 * minutes
    batch = config.train.batch_size
    snapshots, measured = _measurements(costs, measure_share * training_s)
    measuring_s = snapshots * measured * (costs.generate + costs.watch)
    left_s = max(0.5 * training_s, training_s - measuring_s - pictures.train * costs.watch)
    interval = max(batch, _whole(min(left_s / costs.train, LONGEST_IMAGES) / SNAPSHOTS, batch))
    total = interval * SNAPSHOTS
    yield Choice("train.threads", costs.threads, "the quickest in the trial")
    yield Choice(
        "train.total_images", total, f"about {told_time(total * costs.train)} at {1000 * costs.train:.1f} ms an image"
    )
    half_life = max(batch, min(LARGEST_HALF_LIFE, round(HALF_LIFE_SHARE * total)))
    yield Choice("train.ema_half_life_images", half_life, f"{half_life / total:.0%} of the training")
    for name, every in (("sample", interval), ("checkpoint", interval), ("log", max(batch, interval // 10))):
        yield Choice(f"train.{name}_every_images", every, "")
    why = (
        f"{snapshots} snapshots of {measured} images are measured: {measuring_s / training_s:.1%} of the training's "
        f"time, where {measure_share:.0%} may be"
    )
    yield Choice("train.measure_every_images", total // snapshots // batch * batch, why)
    yield Choice("train.measure_samples", measured, "")
    if config.train.patience_images is not None:
        yield Choice("train.patience_images", None, "the training is as long as it may be")
    if costs.classify:
        seen = min(
            _MOST_CLASSIFIER_IMAGES, _EPOCHS * pictures.train, int(CLASSIFIER_SHARE * training_s / costs.classify)
        )
        seen = max(seen, min(_LEAST_EPOCHS * pictures.train, _LEAST_CLASSIFIER_IMAGES), config.extractor.batch_size)
        yield Choice(
            "extractor.total_images", seen, f"the classifier learns for about {told_time(seen * costs.classify)}"
        )
    yield Choice("extractor.threads", costs.threads, "")
    yield Choice("evaluate.threads", costs.threads, "")
    yield from _evaluation(config, pictures, costs, training_s)


def _measurements(costs: Costs, budget_s: float) -> tuple[int, int]:
    """How many snapshots are measured, and on how many images each: the most that the budget allows."""
    plans = [(SNAPSHOTS, samples) for samples in _SNAPSHOT_SAMPLES]
    plans += [(snapshots, _SNAPSHOT_SAMPLES[-1]) for snapshots in _FEWER_SNAPSHOTS]
    affordable = (
        plan for plan in plans if plan[0] * plan[1] * (costs.generate + costs.watch) <= budget_s or plan == plans[-1]
    )
    return next(affordable)


def _evaluation(config: RunConfig, pictures: Pictures, costs: Costs, training_s: float) -> Iterator[Choice]:
    least, _ = config.images_for_the_gate
    for samples in _SAMPLES:
        options = config.evaluate.model_copy(update={"samples": samples})
        seconds = evaluation_s(config.model_copy(update={"evaluate": options}), pictures, costs)
        if seconds <= max(EVALUATION_SHARE * training_s, 120) or samples == _SAMPLES[-1] or samples / 2 < least:
            break
    yield Choice("evaluate.samples", samples, f"so many are generated and looked at in about {told_time(seconds)}")


def forecast(config: RunConfig, pictures: Pictures, costs: Costs) -> Forecast:
    """How long each stage will take with these parameters, at the rates that were measured."""
    train = config.train
    measures = -(-train.total_images // train.measure_every_images)
    stages = {
        "preprocess": START_S + pictures.files / 4000,
        "extractor": START_S + config.extractor.total_images * costs.classify,
        "train": START_S
        + train.total_images * costs.train
        + measures * train.measure_samples * (costs.generate + costs.watch)
        + pictures.train * costs.watch
        + (0 if train.extractor == "domain" else ROOT_S),
        "evaluate": START_S + FIGURES_S + evaluation_s(config, pictures, costs),
        "register": START_S,
    }
    features = 8e-9 * 2048 if config.evaluate.extractor != "domain" else 8e-9 * config.extractor.feature_dim
    return Forecast(stages, costs.memory_gib + 3 * features * (pictures.count + config.evaluate.samples))


def too_slow(config: RunConfig, pictures: Pictures, costs: Costs, minutes: float) -> bool:
    """Whether the smallest evaluation would take longer than the training."""
    options = config.evaluate.model_copy(update={"samples": _SAMPLES[-1]})
    return evaluation_s(config.model_copy(update={"evaluate": options}), pictures, costs) > 60 * minutes


def evaluation_s(config: RunConfig, pictures: Pictures, costs: Costs) -> float:
    """Seconds that the evaluation takes."""
    known = pictures.train if config.train.extractor == config.evaluate.extractor else 0
    work = workload_of(config.evaluate, train=pictures.train, test=pictures.test)
    return (work.looked_at - known) * costs.evaluate + work.generated * costs.generate


def _whole(images: float, batch: int) -> int:
    """Whole batches, not more than so many images."""
    return int(images / batch) * batch
