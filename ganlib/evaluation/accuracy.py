"""What a classifier learns from generated images alone."""

import numpy as np
from numpy.typing import NDArray

from ganlib.config import EvaluateOptions, ExtractorOptions
from ganlib.datasets.packed.order import batch_indices
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Draw, Reference, draw_images
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.classifier import train_classifier
from ganlib.metrics.estimates import Interval, share_interval
from ganlib.metrics.extractors import DomainExtractor
from ganlib.sampling import Images


def accuracy_score(drawn: Draw, reference: Reference, recipe: ExtractorOptions, options: EvaluateOptions) -> Interval:
    """Classification accuracy score (Ravuri & Vinyals 2019): train on generated images, test on held-out real ones.

    Generated images that miss a class, a mode or their label cost accuracy. The
    interval is that of the held-out images; another draw or training would vary it further.

    As many of each class, whatever the shares of the data.
    All images are kept as uint8: 0.8 MB for each 1,000 of 16 x 16 x 3, 200 MB of 256 x 256 x 3.

    Args:
        drawn: whose images and labels the classifier learns from.
        reference: whose held-out images it is tested on.
        recipe: of the classifier, as of the domain features'; shown `options.accuracy_score_images` images.
        options: says how long, how sure, and with which seed.

    Raises:
        UserError: an unconditional generator, or unlabelled data.
    """
    assert options.accuracy_score_images is not None
    truth = reference.data.test.labels
    if drawn.labels is None or truth is None:
        raise UserError("accuracy_score: needs a conditional generator and labelled data, which say what to learn")
    seed = seed_for("accuracy score", options.seed)
    recipe = recipe.model_copy(update={"total_images": options.accuracy_score_images, "seed": seed})
    images, labels = _even_images(drawn, options), drawn.labels[drawn.even_rows].numpy()

    def batch(seen_images: int) -> tuple[Images, NDArray[np.int64]]:
        chosen = batch_indices(seed=seed, seen_images=seen_images, batch_size=recipe.batch_size, size=len(images))
        return images[chosen], labels[chosen]

    device = reference.extractor.device
    extractor = DomainExtractor(train_classifier(recipe, reference.data.image, batch, device), "", device)
    predicted = extractor.extract_all(reference.data.test.batches()).logits.argmax(dim=1).numpy()
    return share_interval(float((predicted == truth).mean()), len(truth), options.confidence)


def _even_images(drawn: Draw, options: EvaluateOptions) -> Images:
    image, rows = drawn.generator.image, drawn.even_rows
    images = np.empty((drawn.count, image.size, image.size, image.channels), dtype=np.uint8)
    start = 0
    for batch in draw_images(drawn.generator, options, drawn.labels, truncation=drawn.truncation, rows=rows):
        images[start : start + len(batch)] = batch
        start += len(batch)
    return images
