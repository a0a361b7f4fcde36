"""One of the runs that are compared, with all that its artifacts say of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ganlib.evaluation.record import Evaluation
from pipelines import paths
from pipelines.comparing.parameters import read_parameters
from pipelines.registry.choosing import Chosen
from pipelines.report.facts import Picture, Points, read_columns, read_picture
from pipelines.tracking.artifacts import Unusable
from pipelines.tracking.delivery import GENERATOR_SHA256
from pipelines.tracking.runs import TRAINING_ARTIFACTS

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Subject:
    """A run as it was recorded.

    Attributes:
        called: by what people know it here.
        run_id, name, status: of the run in MLflow.
        started_ms: Unix time in milliseconds.
        trained_s: how long its training took; None while it is at work.
        version, aliases: of the model's version that holds its generator; None and empty where none does.
        generator_sha256, data_sha256, commit: what it made, from what; empty where that is unknown.
        changed: whether there were changes that were not committed.
        parameters: of params.yaml by dotted names, as text; None where they are not recorded.
        evaluation: None where there is none of today's format.
        curves, snapshots: columns of the training's logs -> (images shown, figure).
        samples: the grid that the evaluation drew; None without one.
        lacks: what is not there, and why, for people.
    """

    called: str
    run_id: str
    name: str
    status: str
    started_ms: int
    trained_s: float | None
    version: str | None
    aliases: tuple[str, ...]
    generator_sha256: str
    data_sha256: str
    commit: str
    changed: bool
    parameters: Mapping[str, str] | None
    evaluation: Evaluation | None
    curves: Mapping[str, Points]
    snapshots: Mapping[str, Points]
    samples: Picture | None
    lacks: tuple[str, ...]


def read_subject(chosen: Chosen) -> Subject:
    """Read what is compared from a run's artifacts; what is missing or damaged is in `lacks`.

    Raises:
        UserError: the store does not answer.
    """
    run, tags = chosen.run, chosen.run.data.tags
    ended_ms = run.info.end_time
    training, evaluation = PurePosixPath(TRAINING_ARTIFACTS), PurePosixPath(paths.EVALUATION_ARTIFACTS)
    lacks: list[str] = []

    def read(artifact: PurePosixPath, reader: Callable[[Path], _Found]) -> _Found | None:
        try:
            return chosen.artifacts.read(artifact, reader)
        except Unusable as error:
            lacks.append(str(error))
            return None

    return Subject(
        called=chosen.called,
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        started_ms=run.info.start_time,
        trained_s=None if ended_ms is None else (ended_ms - run.info.start_time) / 1000,
        version=None if chosen.version is None else str(chosen.version.version),
        aliases=chosen.aliases,
        generator_sha256=tags.get(GENERATOR_SHA256, ""),
        data_sha256=tags.get("data_sha256", ""),
        commit=tags.get("mlflow.source.git.commit", ""),
        changed=tags.get("ganlib.git_dirty") == "true",
        parameters=read(training / paths.PARAMS.name, read_parameters),
        evaluation=read(evaluation / paths.EVALUATION.name, Evaluation.read),
        curves=read(training / paths.CURVES.name, read_columns) or {},
        snapshots=read(training / paths.SNAPSHOTS.name, read_columns) or {},
        samples=read(evaluation / paths.PICTURES.name / paths.SAMPLES.name, read_picture),
        lacks=tuple(lacks),
    )
