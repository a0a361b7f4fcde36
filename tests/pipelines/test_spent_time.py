"""The time of a training that is interrupted, killed and gone on with."""

import time
from pathlib import Path

import pytest
import torch

from ganlib.errors import TrainingInterrupted
from ganlib.events import Scalars
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.ingredients import Ingredients
from pipelines.stages.spent_time import spent_time
from tests.configs import tiny_config
from tests.toy_training import IMAGE

GO_S = 0.05


def test_every_go_counts_until_the_training_is_finished(tmp_path: Path) -> None:
    config = tiny_config({})
    store = CheckpointStore(tmp_path, Ingredients.of(config, IMAGE, torch.device("cpu"), {}), config.train)

    def interrupted() -> None:
        with spent_time(store):
            time.sleep(GO_S)
            raise TrainingInterrupted("stopped")

    with pytest.raises(TrainingInterrupted):
        interrupted()
    first = store.spent_s()
    assert first >= GO_S
    killed = spent_time(store)
    spent = killed.__enter__()  # and never left
    time.sleep(GO_S)
    spent.sink(Scalars(64, {"loss/critic": 1.0}))
    second = store.spent_s()
    assert second >= first + GO_S
    started = time.monotonic()
    with spent_time(store) as spent:
        time.sleep(GO_S)
    last = time.monotonic() - started
    assert second + GO_S <= store.spent_s() <= second + last
    store.finish()
    assert store.spent_s() == 0.0
