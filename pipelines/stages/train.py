"""Stage: train the generator; the best snapshot is the output."""

import numpy as np
import torch
from numpy.typing import NDArray

import ganlib.datasets.order
import ganlib.datasets.packed
import ganlib.losses
import ganlib.metrics.classifier
import ganlib.metrics.extractors
import ganlib.metrics.frechet
import ganlib.networks
import ganlib.sampling
import ganlib.training
from ganlib.config import RunConfig, load_config
from ganlib.datasets.order import batch_indices
from ganlib.datasets.packed import PackedData, open_packed
from ganlib.errors import UserError
from ganlib.events import EventSink, Notice
from ganlib.metrics.cache import cached_features
from ganlib.metrics.checks import check_counts, check_real
from ganlib.metrics.extractors import Extractor
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.sampling import Images
from ganlib.source_digest import source_digest
from ganlib.training.checkpoint import CheckpointStore, fingerprint
from ganlib.training.device import prepare_device
from ganlib.training.loop import Objective, sample_grid, train
from ganlib.training.state import TrainState, initial_state
from pipelines import paths, tracking
from pipelines.lineage import content_tags
from pipelines.stages.extraction import project_extractor
from pipelines.stages.shell import ProgressDisplay, chain, run_stage, say, write_csv, write_png

MEASURE_BATCH_SIZE = 250
# The code that a generator's bits depend on: the score picks the snapshot.
BITS = (
    ganlib.datasets.order,
    ganlib.datasets.packed,
    ganlib.losses,
    ganlib.metrics.classifier,
    ganlib.metrics.extractors,
    ganlib.metrics.frechet,
    ganlib.networks,
    ganlib.sampling,
    ganlib.training,
)


def main() -> None:
    """Train, or go on where an interrupted training stopped, and write `models/generator`."""
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)
    if len(data.train) < config.train.batch_size:
        raise UserError(
            f"train.batch_size={config.train.batch_size}: more than the {len(data.train)} training images; "
            "lower it or provide more images"
        )
    check_counts(config.evaluate, len(data.test))
    device = prepare_device(config.train)
    extractor = project_extractor(config.train.extractor, config, device)
    state = initial_state(config, data.image, device)
    checkpoints = CheckpointStore(
        paths.CHECKPOINTS, _fingerprint(config, data, extractor, device), config.train.keep_checkpoints
    )
    with (
        ProgressDisplay("train") as display,
        tracking.training_run(
            experiment=config.tracking.experiment,
            run_key=checkpoints.run_key(),
            run_name=f"{config.network.family}-{checkpoints.fingerprint[:8]}",
            params=config.model_dump(mode="json", by_alias=True, exclude={"flow", "tracking"}),
            tags=content_tags(config, data),
            dataset=_dataset(config, data),
        ) as log,
    ):
        sink = chain(display, log.sink)
        if checkpoints.load_latest(state, notify=lambda text: sink(Notice(text))):
            sink(Notice(f"resumed at {state.seen_images} images shown"))
        _train(state, config, data, extractor, checkpoints, sink)
        _write_outputs(state, config, data, extractor)
        digest = generator_sha256(paths.GENERATOR)
        log.tags({"generator_sha256": digest})
        for path in (paths.PARAMS, paths.CURVES, paths.SNAPSHOTS, paths.TRAINING_SAMPLES):
            log.artifact(path, "training")
    checkpoints.clear()
    assert state.best is not None
    say(
        f"train: generator {digest[:12]}… from {state.best.seen_images} images shown, "
        f"{config.train.extractor}/fid to the training split {state.best.score:.3f}"
    )


def _train(
    state: TrainState,
    config: RunConfig,
    data: PackedData,
    extractor: Extractor,
    checkpoints: CheckpointStore,
    sink: EventSink,
) -> None:
    def batches(seen_images: int) -> tuple[Images, NDArray[np.int64] | None]:
        chosen = batch_indices(
            seed=config.train.seed, seen_images=seen_images, batch_size=config.train.batch_size, size=len(data.train)
        )
        return data.train.take(chosen), None if data.train.labels is None else data.train.labels[chosen]

    # The training split picks the snapshot; the held-out split stays unseen until evaluate.
    features = cached_features(
        extractor,
        digest=data.train.digest,
        count=len(data.train),
        take=data.train.take,
        folder=paths.FEATURES,
        notify=lambda text: sink(Notice(text)),
    )
    check_real(features, data.train.name)
    real = FeatureStatistics.of(features.values)

    def measure(images: Images) -> float:
        pieces = (images[at : at + MEASURE_BATCH_SIZE] for at in range(0, len(images), MEASURE_BATCH_SIZE))
        return frechet_distance(FeatureStatistics.of(extractor.extract_all(pieces).values), real)

    train(
        state,
        batches,
        Objective(config.loss, f"{config.train.extractor}/fid", measure),
        config.train,
        data.image,
        checkpoints,
        conditional=config.network.conditional,
        on_event=sink,
    )


def _write_outputs(state: TrainState, config: RunConfig, data: PackedData, extractor: Extractor) -> None:
    metric = f"{config.train.extractor}/fid"
    if state.best is None:
        raise UserError(f"train: {metric} was never finite, so there is no snapshot to keep; lower the learning rates")
    write_csv(paths.CURVES, [{k: v for k, v in row.items() if k != metric} for row in state.history])
    write_csv(
        paths.SNAPSHOTS,
        [{"seen_images": row["seen_images"], "fid": row[metric]} for row in state.history if metric in row],
    )
    state.ema.load_state_dict(state.best.weights)
    write_png(
        paths.TRAINING_SAMPLES, sample_grid(state, config.train, data.image, conditional=config.network.conditional)
    )
    provenance = {
        "seen_images": state.best.seen_images,
        "score": {"metric": metric, "reference": data.train.name, "value": state.best.score},
        "data_digest": data.train.digest,
        "extractor_sha256": extractor.weights_sha256,
    }
    ImageGenerator(state.ema, config.network, data.image, provenance).save(paths.GENERATOR)


def _fingerprint(config: RunConfig, data: PackedData, extractor: Extractor, device: torch.device) -> str:
    sections = config.model_dump(mode="json", include={"network", "loss", "train"})
    return fingerprint(
        {
            **sections,
            "image": data.image.model_dump(mode="json"),
            "data": data.train.digest,
            "extractor": extractor.weights_sha256,
            "device": device.type,
            "code": source_digest(*BITS),
        }
    )


def _dataset(config: RunConfig, data: PackedData) -> tracking.DatasetInfo:
    profile = {"train_images": len(data.train), "test_images": len(data.test), "classes": data.image.num_classes}
    return tracking.DatasetInfo(
        name=config.register_.model_name, source=config.data.source, digest=data.train.digest, profile=profile
    )


if __name__ == "__main__":
    run_stage("train", main)
