"""Stage: train the domain classifier; make sure that any other extractor asked for can be had."""

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import RunConfig, check_data_fits, load_config
from ganlib.datasets.packed.order import batch_indices
from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.events import EventSink, Notice
from ganlib.metrics.chance import chance_alarm
from ganlib.metrics.classifier import Classifier, Images, train_classifier
from ganlib.metrics.extractors import DomainExtractor, save_extractor
from pipelines import paths
from pipelines.stages.device_slot import device_slot
from pipelines.stages.looking import chosen_device, project_extractor
from pipelines.stages.shell import ProgressDisplay, run_stage, say, write_json

TEST_BATCH_SIZE = 256


def main() -> None:
    """Write `models/extractor` and the classifier's accuracy."""
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)
    check_data_fits(config, data.manifest.counts)
    torch.set_num_threads(config.extractor.threads)
    device = chosen_device("extractor", config.extractor.device)
    with ProgressDisplay("extractor") as display:
        _check_extractors(config, display)
    if data.image.num_classes < 2:
        save_extractor(paths.EXTRACTOR, None, data.image)
        write_json(paths.EXTRACTOR_REPORT, {"classifier": {}})
        say("extractor: the data has fewer than two classes; no domain classifier is trained")
        return
    with device_slot([device], config.flow), ProgressDisplay("extractor") as display:
        classifier = train_classifier(
            config.extractor, data.image, lambda at: _batch(data, config, at), device, on_event=display
        )
        display(Notice("accuracy"))
        predicted = {split.name: _predicted(classifier, split, device) for split in (data.train, data.test)}
    accuracy = {
        f"{split.name}_accuracy": float((predicted[split.name] == split.labels).mean())
        for split in (data.train, data.test)
    }
    save_extractor(paths.EXTRACTOR, classifier, data.image)
    write_json(paths.EXTRACTOR_REPORT, {"classifier": accuracy})
    say(f"extractor: accuracy on the held-out split {accuracy['test_accuracy']:.4f}")
    assert data.test.labels is not None
    if alarm := chance_alarm(predicted[data.test.name], data.test.labels):
        say(f"extractor: ALARM: {alarm}")


def _check_extractors(config: RunConfig, on_event: EventSink) -> None:
    """Fetch and open what will look at images: nobody wants to learn after the training that it is missing."""
    for name in sorted({config.train.extractor, config.evaluate.extractor} - {"domain"}):
        on_event(Notice(f"opening {name}, downloading its weights if necessary"))
        extractor = project_extractor(name, config, torch.device("cpu"))
        say(f"extractor: {name} is ready, weights {extractor.weights_sha256[:16]}…")


def _batch(data: PackedData, config: RunConfig, seen_images: int) -> tuple[Images, NDArray[np.int64]]:
    options, labels = config.extractor, data.train.labels
    assert labels is not None
    chosen = batch_indices(
        seed=options.seed, seen_images=seen_images, batch_size=options.batch_size, size=len(data.train)
    )
    return data.train.take(chosen), labels[chosen]


def _predicted(classifier: Classifier, split: Split, device: torch.device) -> NDArray[np.int64]:
    extractor = DomainExtractor(classifier, "", device)
    return extractor.extract_all(split.batches(TEST_BATCH_SIZE)).logits.argmax(dim=1).numpy()


if __name__ == "__main__":
    run_stage("extractor", main)
