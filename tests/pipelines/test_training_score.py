"""What the training's score is of, and what it compares with: training images, in the shares that are learned."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib.config import ClassesOptions
from ganlib.datasets.packed.kinds import held_back
from ganlib.errors import UserError
from ganlib.events import ignore
from ganlib.sampling import proportional_labels
from ganlib.training.distributed import ALONE
from pipelines.stages.train import _examples, _learned, _measure, _Run
from tests.configs import PAIRED, STYLES, UNPAIRED, tiny_config
from tests.toy_evaluation import PixelExtractor, packed, real_images
from tests.toy_training import start, store_of

COUNTS = (700, 200, 100)


@pytest.mark.parametrize(
    ("conditional", "class_balanced", "evenly"),
    [(True, False, False), (True, True, False), (False, False, False), (False, True, True)],
)
def test_real_images_in_the_shares_that_are_learned_score_best(
    conditional: bool, class_balanced: bool, evenly: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_config({"network.conditional": conditional, "train.class_balanced": class_balanced})
    data = packed(real_images(1000, 1, labels=np.repeat(np.arange(3), COUNTS)), real_images(50, 2))
    extractor: Any = PixelExtractor()
    store, cpu = store_of(config, tmp_path / "checkpoints"), torch.device("cpu")
    measure = _measure(_Run(config, data, start(config), extractor, store, ALONE, cpu, lambda: False), ignore)
    assert measure.class_counts == COUNTS
    scores = []
    for shares in (COUNTS, (1, 1, 1)):
        images, _ = real_images(900, 3, labels=proportional_labels(900, shares).numpy())
        scores.append(measure.score(images))
    best, other = sorted(scores)
    assert best == scores[int(evenly)]
    assert best < 0.5 * other


@pytest.mark.parametrize("changes", [PAIRED, UNPAIRED, STYLES], ids=lambda changes: str(changes["network"]))
def test_a_translator_is_scored_on_images_that_it_does_not_learn_from(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_config({**changes, "train.measure_samples": 20})
    data = packed(real_images(60, 1), real_images(50, 2))
    store, cpu = store_of(config, tmp_path / "checkpoints"), torch.device("cpu")
    extractor: Any = PixelExtractor()
    run = _Run(config, data, start(config), extractor, store, ALONE, cpu, lambda: False)
    examples = _examples(run)
    assert examples is not None
    assert len(examples.given) == len(examples.wanted) == 20
    shown = {image.tobytes() for batch in _learned(run).batches() for image in batch}
    scored = {image.tobytes() for image in examples.wanted}
    assert len(shown) == 40
    assert len(scored) == 20
    assert not shown & scored


def test_images_to_score_a_translator_on_are_of_the_classes_that_are_given_and_leave_as_many_to_learn_from() -> None:
    data = packed(real_images(60, 1, labels=np.repeat(np.arange(3), 20)), real_images(6, 2))
    inputs = ClassesOptions(kind="classes", input="bee", output="ant")
    learned, scored = held_back(data.train, data.image, inputs, 10)
    assert scored.labels is not None
    assert scored.labels.tolist() == [1] * 10
    assert len(learned) == 50
    with pytest.raises(UserError, match=r"train.measure_samples=11: .* found 20; lower it to 10 or provide"):
        held_back(data.train, data.image, inputs, 11)
