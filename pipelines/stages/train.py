"""Stage: train the generator; the best snapshot is the output."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import ganlib.arithmetic
import ganlib.augmentation
import ganlib.datasets.packed.kinds
import ganlib.datasets.packed.order
import ganlib.datasets.packed.reading
import ganlib.degradations
import ganlib.losses
import ganlib.metrics.classifier
import ganlib.metrics.extractors
import ganlib.metrics.frechet
import ganlib.networks
import ganlib.packaging
import ganlib.pretrained
import ganlib.sampling
import ganlib.schedules
import ganlib.training
from ganlib.config import InputsOptions, RunConfig, check_data_fits, classes_of, load_config
from ganlib.counting import counted
from ganlib.datasets.packed.kinds import held_back, made_part
from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.degradations import inputs_of
from ganlib.errors import UserError
from ganlib.events import Event, EventSink, Notice, Scalars, ignore
from ganlib.inversion.encoder import train_encoder
from ganlib.marking import COMPOSITE_TYPE, SOURCE_TYPE, Origin, marked_png
from ganlib.metrics.cache import cached_features
from ganlib.metrics.checks import check_real
from ganlib.metrics.extractors import Extractor
from ganlib.metrics.frechet import FeatureStatistics, FrechetReference
from ganlib.networks.base import Critic
from ganlib.packaging import ImageGenerator, generator_sha256, load_critic
from ganlib.pretrained.weights import local_weights, sha256_of
from ganlib.sampling import Images
from ganlib.source_digest import source_digest
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.distributed import Ranks, join, local_rank
from ganlib.training.feeding import SplitFeed
from ganlib.training.ingredients import Ingredients
from ganlib.training.launch import device_count, inside_worker, launch, node_count
from ganlib.training.loop import train
from ganlib.training.precision import device_type, prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.requirements import check_devices, check_shares
from ganlib.training.showing import Examples, Measure, show
from ganlib.training.state import Snapshot, TrainState, initial_state
from pipelines import paths
from pipelines.registry.starting_point import starting_point
from pipelines.stages.describing import describe, experiment_of, trained_note
from pipelines.stages.device_slot import device_slot
from pipelines.stages.looking import project_extractor
from pipelines.stages.measured import measured_sink
from pipelines.stages.real_images import real_grid
from pipelines.stages.shell import (
    Afterwards,
    ProgressDisplay,
    chain,
    graceful_stop,
    plain_errors,
    run_stage,
    say,
    write_bytes,
    write_csv,
    write_json,
)
from pipelines.stages.spent_time import spent_time
from pipelines.tracking import runs, tables
from pipelines.tracking.headline import TRAINED
from pipelines.tracking.lineage import content_tags
from pipelines.tracking.machine import machine
from pipelines.tracking.system_metrics import logged_system_metrics

MEASURE_BATCH_SIZE = 250
COLLECTIVE_TIMEOUT_S = 3600.0  # the others wait while the first process measures
# The code that a generator's bits depend on: the score picks the snapshot.
BITS = (
    ganlib.arithmetic,
    ganlib.augmentation,
    ganlib.datasets.packed.kinds,
    ganlib.datasets.packed.order,
    ganlib.datasets.packed.reading,
    ganlib.degradations,
    ganlib.losses,
    ganlib.metrics.classifier,
    ganlib.metrics.extractors,
    ganlib.metrics.frechet,
    ganlib.networks,
    ganlib.packaging,
    ganlib.pretrained,
    ganlib.sampling,
    ganlib.schedules,
    ganlib.training,
)


def main() -> Afterwards | None:
    """Train in this process, or in as many as `train.devices` and the nodes ask for."""
    config = load_config(paths.PARAMS)
    check_devices(config.train)
    if inside_worker():  # whoever launched it holds the devices
        return train_generator(config)
    kind, nodes = device_type(config.train), node_count()
    processes = device_count(config.train.devices, kind)
    named = torch.device(kind if config.train.device == "auto" else config.train.device)
    first = named.index or 0
    devices = [torch.device(kind, first + place) for place in range(processes)]
    # Two trainings over several machines could each hold what the other waits for.
    with device_slot(devices if nodes == 1 else [], config.flow):
        if processes * nodes == 1:
            return train_generator(config)
        launch(_worker, config, processes=processes)
        return None


def _worker(config: RunConfig) -> None:
    """One of several processes."""
    with plain_errors("train"):
        afterwards = train_generator(config)
        if afterwards is not None:
            afterwards()


def train_generator(config: RunConfig) -> Afterwards | None:
    """Train, or go on where an interrupted training stopped, and write `models/generator`.

    Returns:
        For the first process, what takes the finished training as done: without it, to run again costs seconds.
    """
    data = open_packed(paths.PROCESSED)
    check_data_fits(config, data.manifest.counts)
    device = prepare_device(config.train, local_rank())
    with graceful_stop() as should_stop, join(device, timeout_s=COLLECTIVE_TIMEOUT_S) as ranks:
        check_shares(config, ranks.size)
        start = config.train.init_from
        state = initial_state(
            config,
            data.image,
            device,
            ranks=ranks,
            starting_point=None if start is None else starting_point(start, paths.STARTING_POINT),
        )
        extractor = project_extractor(config.train.extractor, config, device)
        digests = {
            "training images": data.train.digest,
            "weights of train.extractor": extractor.weights_sha256,
            "training code": source_digest(*BITS),
        }
        if config.critic_pretrained is not None:
            seen_with = local_weights(config.critic_pretrained, config.extractor)
            digests["weights of network.critic_pretrained"] = sha256_of(seen_with)
        ingredients = Ingredients.of(config, data.image, device, digests)
        checkpoints = CheckpointStore(paths.CHECKPOINTS, ingredients, config.train)
        run = _Run(config, data, state, extractor, checkpoints, ranks, device, should_stop)
        if ranks.is_first:
            _train_and_tell(run)
            return checkpoints.finish
        checkpoints.resume(state, notify=lambda _text: None, ranks=ranks)
        _train(run, ignore)
        return None


@dataclass(frozen=True)
class _Run:
    """What a process needs to train."""

    config: RunConfig
    data: PackedData
    state: TrainState
    extractor: Extractor
    checkpoints: CheckpointStore
    ranks: Ranks
    device: torch.device
    should_stop: Callable[[], bool]


def _train_and_tell(run: _Run) -> None:
    """What the first process does: train, tell people and MLflow, write the outputs."""
    config, data, state, checkpoints = run.config, run.data, run.state, run.checkpoints
    described, commit = describe(config), runs.commit_of(Path())
    with (
        ProgressDisplay("train") as display,
        checkpoints.in_use(lambda text: display(Notice(text))),
        runs.training_run(
            experiment=experiment_of(config),
            run_key=checkpoints.run_key(),
            run_name=described.name,
            params=described.params,
            tags=content_tags(config, data),
            dataset=_dataset(config, data),
        ) as log,
        logged_system_metrics(log, wanted=config.tracking.system_metrics),
    ):
        log.artifact(paths.PARAMS, runs.TRAINING_ARTIFACTS)
        log.written(runs.MACHINE, lambda path: write_json(path, machine()), runs.TRAINING_ARTIFACTS)
        log.written(tables.DATA, lambda path: tables.write_counts(data.manifest.totals, path), runs.TRAINING_ARTIFACTS)
        sink = chain(display, log.sink)
        resumed = checkpoints.resume(state, notify=lambda text: sink(Notice(text)), ranks=run.ranks)
        if resumed:
            sink(Notice(f"resumed at {state.seen_images} images shown"))
        for line in checkpoints.remove_old_trainings():
            sink(Notice(line))
        if cut := ganlib.schedules.cut_short(config):
            sink(Notice(cut))
        if not resumed:
            log.picture("samples/real", real_grid(data, by_class=config.network.conditional), 0)
        with spent_time(checkpoints) as spent:
            _train(run, chain(sink, spent.sink, measured_sink(_metric(config), resumed=resumed)))
        log.metrics({f"{TRAINED}/minutes": spent.seconds() / 60}, state.seen_images)
        best = _write_outputs(run)
        _add_encoder(run, sink)
        write_bytes(paths.TRAINING_SAMPLES, _marked(best, config))
        assert state.best is not None
        digest = generator_sha256(paths.GENERATOR)
        log.describe(trained_note(described.name, commit, _told_best(config, state.best)))
        log.made(digest)
        # Of one step in all runs, or MLflow would not show them beside each other.
        log.picture("samples/best", best, 0)
        log.tags({"best_snapshot": f"{state.best.seen_images} images shown"})
        for path in (paths.CURVES, paths.SNAPSHOTS, paths.TRAINING_SAMPLES):
            log.artifact(path, runs.TRAINING_ARTIFACTS)
    say(f"train: generator {digest[:12]}… from {_told_best(config, state.best)}")


def _told_best(config: RunConfig, best: Snapshot) -> str:
    return f"{best.seen_images} images shown, {_metric(config)} to the training split {best.score:.3f}"


def _train(run: _Run, sink: EventSink) -> None:
    recipe = Recipe.of(run.config, run.data.image)
    feed = SplitFeed(_learned(run), recipe, run.ranks, run.device)
    measure = _measure(run, sink) if run.ranks.is_first else _unasked(run)
    train(
        run.state,
        recipe,
        feed,
        measure,
        run.checkpoints,
        ranks=run.ranks,
        should_stop=run.should_stop,
        on_event=sink,
    )


def _measure(run: _Run, sink: EventSink) -> Measure:
    """The Fréchet distance to the training split picks the snapshot; the held-out split stays unseen until evaluate.

    The split is taken with the class shares that the generator is to have: its own, of which a conditional generator is
    asked whatever it was shown, or even ones for an unconditional generator that is shown every class equally often.
    """
    data, extractor, split = run.data, run.extractor, _compared(run)
    features = cached_features(
        extractor,
        digest=split.digest,
        count=len(split),
        batches=split.batches(),
        folder=paths.FEATURES,
        notify=lambda text: sink(Notice(text)),
    )
    check_real(features, split.name)
    evenly = run.config.train.class_balanced and not run.config.network.conditional
    statistics = FeatureStatistics.of(features.values, _even_weights(run) if evenly else None)
    real = FrechetReference(statistics, device=run.device)

    def score(images: Images) -> float:
        pieces = (images[at : at + MEASURE_BATCH_SIZE] for at in range(0, len(images), MEASURE_BATCH_SIZE))
        told = counted(pieces, len(images), f"{extractor.name} features of a snapshot", lambda text: sink(Notice(text)))
        return real.distance_to(extractor.extract_all(told).values)

    return Measure(_metric(run.config), score, _class_counts(data), _examples(run))


def _unasked(run: _Run) -> Measure:
    """The measure of the processes that do not measure."""

    def score(_images: Images) -> float:
        raise AssertionError("only the first process measures")

    return Measure(_metric(run.config), score, _class_counts(run.data), _examples(run))


def _examples(run: _Run) -> Examples | None:
    """What a translator is shown and scored by."""
    inputs = run.config.data.inputs
    if inputs is None:
        return None
    learned, scored = _parts(run, inputs)
    given = np.arange(len(scored))
    # Of classes, no image that is given is one of those that are wanted.
    wanted = made_part(learned, run.data.image, inputs) if classes_of(inputs) else scored
    rows = np.linspace(0, len(wanted) - 1, min(len(given), len(wanted))).astype(np.int64)
    return Examples(inputs_of(scored, given, inputs, seed=run.config.train.seed), wanted.take(rows))


def _learned(run: _Run) -> Split:
    """The images that the networks are shown."""
    inputs = run.config.data.inputs
    return run.data.train if inputs is None else _parts(run, inputs)[0]


def _parts(run: _Run, inputs: InputsOptions) -> tuple[Split, Split]:
    """Of the training split, what a translator learns from, and what its snapshots are scored on."""
    return held_back(run.data.train, run.data.image, inputs, run.config.train.measure_samples)


def _compared(run: _Run) -> Split:
    """The training images that generated ones are to be like."""
    inputs = run.config.data.inputs
    return run.data.train if inputs is None else made_part(run.data.train, run.data.image, inputs)


def _even_weights(run: _Run) -> torch.Tensor:
    """Of each training image, [N], so that all classes weigh the same."""
    assert run.data.train.labels is not None  # or its feed would have refused
    return 1 / torch.tensor(_class_counts(run.data))[torch.from_numpy(run.data.train.labels.copy())]


def _class_counts(data: PackedData) -> tuple[int, ...]:
    """Training images of each class; of all where there are none."""
    if data.train.labels is None:
        return (len(data.train),)
    return tuple(np.bincount(data.train.labels, minlength=data.image.num_classes).tolist())


def _metric(config: RunConfig) -> str:
    return f"{config.train.extractor}/fid"


def _write_outputs(run: _Run) -> Images:
    """Write them; the grid of the snapshot that was kept."""
    config, data, state, metric = run.config, run.data, run.state, _metric(run.config)
    if state.best is None:
        raise UserError(f"train: {metric} was never finite, so there is no snapshot to keep; lower the learning rates")
    write_csv(paths.CURVES, [{k: v for k, v in row.items() if k != metric} for row in state.history])
    write_csv(
        paths.SNAPSHOTS,
        [{"seen_images": row["seen_images"], "fid": row[metric]} for row in state.history if metric in row],
    )
    state.ema.load_state_dict(state.best.generator)
    state.partner.load_state_dict(state.best.partner)
    best, _ = show(state.ema, Recipe.of(config, data.image), _unasked(run))
    start = config.train.init_from
    provenance = {
        "seen_images": state.best.seen_images,
        "score": {"metric": metric, "reference": data.train.name, "value": state.best.score},
        "data_digest": data.train.digest,
        "extractor_sha256": run.extractor.weights_sha256,
        "init_from": None if start is None else start.sha256,
    }
    critic, encoder = (state.partner, None) if isinstance(state.partner, Critic) else (None, state.partner)
    ImageGenerator(state.ema, config.network, data.image, provenance, config.data.inputs).save(
        paths.GENERATOR, critic=critic, encoder=encoder
    )
    return best


def _marked(samples: Images, config: RunConfig) -> bytes:
    origin = Origin(generator_sha256(paths.GENERATOR), {"picture": paths.TRAINING_SAMPLES.stem})
    return marked_png(samples, origin, SOURCE_TYPE if config.data.inputs is None else COMPOSITE_TYPE)


def _add_encoder(run: _Run, sink: EventSink) -> None:
    """Train the encoder of the generator that was written, and write it beside it."""
    options, device = run.config.train.encoder, str(run.device)
    if options is None:
        return
    sink(Notice("an encoder learns from the generator's samples"))
    generator, critic = ImageGenerator.load(paths.GENERATOR, device), load_critic(paths.GENERATOR, device)
    losses: dict[str, float] = {}

    def note(event: Event) -> None:
        if isinstance(event, Scalars):
            losses.update(event.values)
        sink(event)

    encoder = train_encoder(
        generator, critic, options, seed=run.config.train.seed, should_stop=run.should_stop, on_event=note
    )
    generator.save(paths.GENERATOR, critic=critic, encoder=encoder)
    told = ", ".join(f"{name.partition('/')[2]} {value:.4g}" for name, value in losses.items())
    sink(Notice(f"the encoder's losses at the end: {told}"))


def _dataset(config: RunConfig, data: PackedData) -> runs.DatasetInfo:
    """What MLflow tells of the data: how many images and classes, what was left out, what was mended."""
    profile = {"classes": data.image.num_classes, **data.manifest.totals}
    return runs.DatasetInfo(
        name=config.register_.model_name, source=config.data.source, digest=data.train.digest, profile=profile
    )


if __name__ == "__main__":
    run_stage("train", main)
