"""What a classifier learns from generated images is worth as much as these are."""

from pathlib import Path

import pytest
from torch import Tensor

from ganlib.errors import UserError
from ganlib.evaluation.accuracy import accuracy_score
from tests.configs import tiny_config
from tests.toy_evaluation import (
    Painter,
    draw_of,
    image_generator,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

TRAIN, TEST = real_images(300, 10), real_images(500, 11)
RECIPE = tiny_config({"extractor.batch_size": 32, "extractor.learning_rate": 0.005}).extractor
OPTIONS = options_of(samples=900, accuracy_score_images=6400)


def of_any_class(latents: Tensor, labels: Tensor) -> Tensor:
    return paint(latents, (latents[:, 0].abs() * 1e4).long() % 3)


@pytest.mark.parametrize(("painter", "low", "high"), [(paint, 0.95, 1.0), (of_any_class, 0.2, 0.5)])
def test_labels_that_mean_something_are_learned(painter: Painter, low: float, high: float, tmp_path: Path) -> None:
    reference = reference_of(packed(TRAIN, TEST), tmp_path)
    drawn = draw_of(image_generator(painter), reference, OPTIONS)
    found = accuracy_score(drawn, reference, RECIPE, OPTIONS)
    assert low <= found.estimate <= high
    assert found.low < found.estimate < found.high or found.estimate == found.high == 1
    assert accuracy_score(drawn, reference, RECIPE, OPTIONS) == found


def test_without_classes_there_is_nothing_to_learn(tmp_path: Path) -> None:
    labelled = reference_of(packed(TRAIN, TEST), tmp_path)
    unlabelled = reference_of(packed((TRAIN[0], None), (TEST[0], None)), tmp_path)
    cases = [(image_generator(conditional=False), labelled), (image_generator(), unlabelled)]
    for generator, reference in cases:
        drawn = draw_of(generator, labelled, OPTIONS, f"conditional {generator.conditional}")
        with pytest.raises(UserError, match=r"^accuracy_score: needs a conditional generator and labelled data"):
            accuracy_score(drawn, reference, RECIPE, OPTIONS)
