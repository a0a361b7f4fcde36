"""A project whose store holds runs of several kinds, each with a real generator: enough to compare them."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import open_packed
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines import paths
from pipelines.stages import extractor
from pipelines.tracking import runs
from pipelines.tracking.journal import Patience
from pipelines.tracking.lineage import content_tags
from tests import quiz_project, report_project
from tests.configs import changed
from tests.registered import submit
from tests.tracking_runs import experiment

MODEL = "digits"
PATIENCE = Patience(gather_s=0.05, first_pause_s=0.3, longest_pause_s=0.6)


@dataclass(frozen=True)
class Kind:
    """What is peculiar to a run.

    Attributes:
        seed: of its weights.
        shift: added to its distances, of which the intervals are 0.17 to both sides.
        changes: of its parameters, by dotted names.
        tags: beside those of its data.
        measured_on: of its figures.
        registered: whether a version holds its generator.
    """

    seed: int
    shift: float = 0.0
    changes: Mapping[str, Any] = ()  # type: ignore[assignment]
    tags: Mapping[str, str] = ()  # type: ignore[assignment]
    measured_on: str = "f" * 64
    registered: bool = True


# The first version is the champion, as the gate has it of the scores below; the second one the challenger.
KINDS = {
    "first": Kind(1, shift=0.9),
    "second": Kind(2, changes={"train.seed": 2, "loss.adversarial": "minimax"}),
    "third": Kind(3, shift=0.1, changes={"train.seed": 3}, registered=False),
    "elsewhere": Kind(4, tags={"data_sha256": "0" * 64}, measured_on="0" * 64, registered=False),
}


def make_project(root: Path) -> None:
    """Into the working directory, which holds a prepared mlflow.db: data, a classifier, and the runs of KINDS."""
    made = root / "made"
    quiz_project.make_project(made)
    shutil.copytree(made, root, dirs_exist_ok=True)
    shutil.rmtree(made)
    values = changed(yaml.safe_load(paths.PARAMS.read_text()), {"tracking.experiment": MODEL})
    write_params(values)
    extractor.main()
    for name, kind in KINDS.items():
        log_run(name, kind, values)
    with runs.training_run(
        experiment=experiment(MODEL),
        run_key="broken",
        run_name="broken",
        params={},
        tags={},
        dataset=None,
        patience=PATIENCE,
    ):
        pass
    write_params(values)


def write_params(values: Mapping[str, Any]) -> None:
    paths.PARAMS.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")


def log_run(name: str, kind: Kind, values: Mapping[str, Any]) -> None:
    """As the stages do: what the training began with, its logs, the evaluation with its samples, and the version."""
    values = changed(yaml.safe_load(yaml.safe_dump(dict(values))), dict(kind.changes))
    write_params(values)
    config, data = RunConfig.model_validate(values), open_packed(paths.PROCESSED)
    with torch.random.fork_rng():
        torch.manual_seed(kind.seed)
        network = build_generator(config.network, data.image)
    shutil.rmtree(paths.GENERATOR)
    generator = ImageGenerator(network, config.network, data.image, {"seen_images": 640})
    generator.save(paths.GENERATOR)
    digest = generator_sha256(paths.GENERATOR)
    evaluation = report_project.evaluation(report_project.DIGITS, digest, shift=kind.shift)
    paths.PICTURES.mkdir(parents=True, exist_ok=True)
    report_project.write_logs(Path())
    report_project.write_pictures(Path(), generator)
    evaluation.model_copy(update={"measured_on": kind.measured_on}).write(paths.EVALUATION)
    tags = {**content_tags(config, data), **dict(kind.tags), "generator_sha256": digest}
    with runs.training_run(
        experiment=experiment(MODEL), run_key=name, run_name=name, params={}, tags=tags, dataset=None, patience=PATIENCE
    ) as log:
        for path in (paths.PARAMS, paths.CURVES, paths.SNAPSHOTS):
            log.artifact(path, runs.TRAINING_ARTIFACTS)
        for path in (paths.EVALUATION, paths.PICTURES):
            log.artifact(path, paths.EVALUATION_ARTIFACTS)
    time.sleep(0.002)  # MLflow's clock counts milliseconds: the next run is newer
    if kind.registered:
        submit(paths.GENERATOR, -kind.shift, name=MODEL)
