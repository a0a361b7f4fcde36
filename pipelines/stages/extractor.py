"""Stage: train the domain classifier; make sure that any other extractor asked for can be had."""

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import RunConfig, load_config
from ganlib.datasets.packed.order import batch_indices
from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.errors import UserError
from ganlib.metrics.classifier import Classifier, Images, train_classifier
from ganlib.metrics.extractors import DomainExtractor, save_extractor, unlabelled_message
from pipelines import paths
from pipelines.stages.looking import project_extractor
from pipelines.stages.shell import ProgressDisplay, run_stage, say, write_json

TEST_BATCH_SIZE = 256


def main() -> None:
    """Write `models/extractor` and the classifier's accuracy."""
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)
    torch.set_num_threads(config.extractor.threads)
    _check_extractors(config)
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


def _check_extractors(config: RunConfig) -> None:
    """Fetch and open what will look at images: nobody wants to learn after the training that it is missing."""
    for name in sorted({config.train.extractor, config.evaluate.extractor} - {"domain"}):
        extractor = project_extractor(name, config, torch.device("cpu"))
        say(f"extractor: {name} is in place, weights {extractor.weights_sha256[:16]}…")


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
