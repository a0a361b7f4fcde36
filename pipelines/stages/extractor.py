"""Stage: train the domain classifier; make sure that the Inception weights are there if they are asked for."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import RunConfig, load_config
from ganlib.datasets.order import batch_indices
from ganlib.datasets.packed import PackedData, Split, open_packed
from ganlib.errors import UserError
from ganlib.metrics.classifier import Classifier, Images, train_classifier
from ganlib.metrics.extractors import DomainExtractor, save_extractor, unlabelled_message
from pipelines import paths
from pipelines.stages.shell import ProgressDisplay, run_stage, say, write_json

TEST_BATCH_SIZE = 256


def main() -> None:
    """Write `models/extractor` and the classifier's accuracy."""
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)
    torch.set_num_threads(config.extractor.threads)
    _prepare_inception(config)
    if data.train.labels is None:
        for name, chosen in (("train", config.train.extractor), ("evaluate", config.evaluate.extractor)):
            if chosen == "domain":
                raise UserError(unlabelled_message(f"{name}.extractor"))
        save_extractor(paths.EXTRACTOR, None, data.image)
        write_json(paths.EXTRACTOR_REPORT, {"classifier": {}})
        say("extractor: the data are unlabelled; no domain classifier")
        return
    with ProgressDisplay("extractor") as display:
        classifier = train_classifier(
            config.extractor, data.image, lambda at: _batch(data, config, at), on_event=display
        )
    accuracy = {f"{split.name}_accuracy": _accuracy(classifier, split) for split in (data.train, data.test)}
    save_extractor(paths.EXTRACTOR, classifier, data.image)
    write_json(paths.EXTRACTOR_REPORT, {"classifier": accuracy})
    say(f"extractor: accuracy on the held-out split {accuracy['test_accuracy']:.4f}")


def _prepare_inception(config: RunConfig) -> None:
    """Fetch and check the weights now: nobody wants to learn after the training that they are missing."""
    if "inception" in (config.train.extractor, config.evaluate.extractor):
        from ganlib.metrics.inception import resolve_weights

        path = resolve_weights(config.extractor.inception_weights, config.extractor.inception_sha256, paths.WEIGHTS)
        with path.open("rb") as file:
            say(f"extractor: Inception weights {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}… are in place")


def _batch(data: PackedData, config: RunConfig, seen_images: int) -> tuple[Images, NDArray[np.int64]]:
    options, labels = config.extractor, data.train.labels
    assert labels is not None
    chosen = batch_indices(
        seed=options.seed, seen_images=seen_images, batch_size=options.batch_size, size=len(data.train)
    )
    return data.train.take(chosen), labels[chosen]


def _accuracy(classifier: Classifier, split: Split) -> float:
    assert split.labels is not None
    extractor = DomainExtractor(classifier, "", torch.device("cpu"))
    pieces = (
        np.arange(start, min(start + TEST_BATCH_SIZE, len(split))) for start in range(0, len(split), TEST_BATCH_SIZE)
    )
    predicted = extractor.extract_all(split.take(piece) for piece in pieces).logits.argmax(dim=1).numpy()
    return float((predicted == split.labels).mean())


if __name__ == "__main__":
    run_stage("extractor", main)
