"""What the training's score compares with: the training images, with the class shares that the generator is to have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlib.events import ignore
from ganlib.sampling import proportional_labels
from ganlib.training.distributed import ALONE
from pipelines.stages.train import _measure, _Run
from tests.configs import tiny_config
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
