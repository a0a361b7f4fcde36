"""What the tests of tracking share: a training's run, and what the store says of it."""

from pathlib import Path
from typing import Any

import numpy as np

from pipelines import paths
from pipelines.tracking import delivery, store
from pipelines.tracking.experiment import Experiment
from pipelines.tracking.journal import Patience
from pipelines.tracking.runs import DatasetInfo, training_run

DATASET = DatasetInfo("digits", "data/raw/digits.zip", "0123456789abcdef" * 4, {"train": 1000, "test": 400})
PARAMS = {"network.family": "dcgan", "network.widths": "[1, 2]"}
PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


def experiment(name: str) -> Experiment:
    return Experiment(name, metric="domain/fid", greater_is_better=False, halfway_images=64)


def training(key: str, name: str = "tests", **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "experiment": experiment(name),
        "run_key": key,
        "run_name": "a run",
        "params": PARAMS,
        "tags": {"data_sha256": "d1"},
        "dataset": DATASET,
        "patience": Patience(gather_s=0.05, first_pause_s=0.3, longest_pause_s=0.6, close_s=120.0),
    }
    return training_run(**{**settings, **changes})


def client() -> Any:
    return store.connect()


def runs_of(key: str, experiment: str = "tests") -> list[Any]:
    experiment_id = delivery.find_or_create_experiment(client(), experiment)
    return list(client().search_runs([experiment_id], filter_string=f"tags.`ganlib.run_key` = '{key}'"))


def run_of(key: str, experiment: str = "tests") -> Any:
    runs = runs_of(key, experiment)
    assert len(runs) == 1
    return runs[0]


def steps(run: Any, metric: str = "loss/critic") -> list[int]:
    history = client().get_metric_history(run.info.run_id, metric)
    return [entry.step for entry in sorted(history, key=lambda entry: entry.timestamp)]


def spooled() -> list[Path]:
    return [path for path in paths.SPOOL.glob("*") if path.is_dir()]
