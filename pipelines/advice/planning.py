"""How long each stage takes on this machine, and the lengths that fit the time that a training may take."""

from collections.abc import Iterator
from dataclasses import dataclass

from ganlib.config import NEIGHBOURHOOD_IMAGES, RunConfig
from ganlib.counting import told_time
from ganlib.evaluation.copying import LARGEST_SIDE
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
# Of the largest of the pretrained networks but DINOv2.
_PRETRAINED_FEATURES = 2048
# With fewer the classifier knows its classes no better than chance, and nothing that it measures means anything.
_LEAST_CLASSIFIER_IMAGES, _LEAST_EPOCHS = 20_000, 10
# What takes as long whatever is trained, in starts of Python with a stage's libraries, for a slow or busy machine takes
# longer for them: around each stage (its own start, DVC, tracking, records), the figures of an evaluation with their
# intervals and pictures, the root of a covariance of 2,048 features.
AROUND = {"preprocess": 1.6, "extractor": 1.8, "train": 3.0, "evaluate": 1.7, "register": 3.0}
FIGURES, ROOT = 1.5, 1.2


@dataclass(frozen=True)
class Costs:
    """What was measured on this machine, in seconds, where nothing else is said for each image.

    Attributes:
        threads: with which the training was the quickest.
        train: of training, both networks.
        generate: of the generator alone.
        watch: of the extractor that picks the snapshot.
        evaluate: of the extractor that evaluates.
        judge: of the critic alone.
        classify: of training the domain classifier; 0 where there is none.
        compare: of one pair of images, in each of their features.
        start: of starting Python with a stage's libraries, once.
        memory_gib: at most, so far.
    """

    threads: int
    train: float
    generate: float
    watch: float
    evaluate: float
    judge: float
    classify: float
    compare: float
    start: float
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
    affordable_s = max(EVALUATION_SHARE * training_s, 120, 1.5 * _with_samples(config, _SAMPLES[-1], pictures, costs))
    for samples in _SAMPLES:
        seconds = _with_samples(config, samples, pictures, costs)
        if seconds <= affordable_s or samples / 2 < least:
            break
    yield Choice("evaluate.samples", samples, f"so many are generated and looked at in about {told_time(seconds)}")


def forecast(config: RunConfig, pictures: Pictures, costs: Costs) -> Forecast:
    """How long each stage will take with these parameters, at the rates that were measured."""
    train = config.train
    measures = -(-train.total_images // train.measure_every_images)
    work = {
        "preprocess": pictures.files / 4000,
        "extractor": config.extractor.total_images * costs.classify,
        "train": train.total_images * costs.train
        + measures * train.measure_samples * (costs.generate + costs.watch)
        + pictures.train * costs.watch
        + (0 if train.extractor == "domain" else ROOT * costs.start),
        "evaluate": FIGURES * costs.start + evaluation_s(config, pictures, costs),
        "register": 0.0,
    }
    stages = {name: seconds + AROUND[name] * costs.start for name, seconds in work.items()}
    features = 8e-9 * 2048 if config.evaluate.extractor != "domain" else 8e-9 * config.extractor.feature_dim
    return Forecast(stages, costs.memory_gib + 3 * features * (pictures.count + config.evaluate.samples))


def too_slow(config: RunConfig, pictures: Pictures, costs: Costs, minutes: float) -> bool:
    """Whether the smallest evaluation would take longer than the training."""
    return _with_samples(config, _SAMPLES[-1], pictures, costs) > 60 * minutes


def _with_samples(config: RunConfig, samples: int, pictures: Pictures, costs: Costs) -> float:
    options = config.evaluate.model_copy(update={"samples": samples})
    return evaluation_s(config.model_copy(update={"evaluate": options}), pictures, costs)


def evaluation_s(config: RunConfig, pictures: Pictures, costs: Costs) -> float:
    """Seconds that the evaluation takes."""
    known = pictures.train if config.train.extractor == config.evaluate.extractor else 0
    work = workload_of(config.evaluate, train=pictures.train, test=pictures.test)
    looking_s = (work.looked_at - known) * costs.evaluate + work.generated * costs.generate
    return looking_s + work.judged * costs.judge + _compared(config, pictures) * costs.compare


def _compared(config: RunConfig, pictures: Pictures) -> float:
    """Pairs of images whose distance the evaluation takes, times their features: near copies and neighbourhoods."""
    samples, side = config.evaluate.samples, min(config.data.image_size, LARGEST_SIDE)
    features = config.extractor.feature_dim if config.evaluate.extractor == "domain" else _PRETRAINED_FEATURES
    copies = 0
    if pictures.test >= NEIGHBOURHOOD_IMAGES:
        seen = pictures.train + samples + pictures.test
        copies = pictures.train * seen * (features + side * side * config.data.channels)
    draws = len(config.evaluate.latent.truncations) + 1
    return copies + draws * (samples + pictures.test) ** 2 * features


def _whole(images: float, batch: int) -> int:
    """Whole batches, not more than so many images."""
    return int(images / batch) * batch
