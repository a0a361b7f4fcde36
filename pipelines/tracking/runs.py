"""Runs in MLflow, logged through a journal: a dead or hung server neither stops nor delays anything."""

import getpass
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlib.errors import TrainingInterrupted, UserError
from ganlib.events import Alarm, Event, Picture, Scalars
from pipelines import paths
from pipelines.git import DubiousOwnership, git
from pipelines.tracking import headline
from pipelines.tracking.delivery import GENERATOR_SHA256, GROUP, RUN_KEY, MlflowStore
from pipelines.tracking.experiment import Experiment
from pipelines.tracking.journal import Journal, Op, Patience, Unreachable, deliver_orphans
from pipelines.tracking.store import check_store

_log = logging.getLogger(__name__)
TRAINING_ARTIFACTS = "training"  # of a run: the parameters that the training began with, its curves
FLOW_RUN_VARIABLES = ("PREFECT__FLOW_RUN_ID", "GANLIB_FLOW_RUN_ID")
GROUP_VARIABLE = "GANLIB_GROUP"  # of a training that is one of several: the run key of their common run
GROUP_KIND = "ganlib.group_kind"  # of a common run, which trains nothing itself
DIRTY = "ganlib.git_dirty"
PATCH = "uncommitted.patch"
MACHINE = "machine.json"
# What runs themselves write, and what is to be committed after them, is no change of theirs.
_OF_A_RUN = ("--", ".", f":!{paths.DVC_LOCK}", f":!{paths.REPORTS}")
_SIGNAL_EXIT = 128  # a shell's exit status for "ended by signal n" is 128 + n


@dataclass(frozen=True)
class DatasetInfo:
    """The data of a run as MLflow shows it; `profile` holds counts such as images per split."""

    name: str
    source: str
    digest: str
    profile: Mapping[str, float]


class RunLog:
    """What can be logged to a run. Every method returns at once and none raises for the store's sake."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def metrics(self, values: Mapping[str, float], seen_images: int) -> None:
        """Log figures at a point of the images-shown clock. NaN stays NaN; MLflow stores infinity as 1.8e308."""
        numbers = {key: float(value) for key, value in values.items()}
        self._journal.append({"op": "metrics", "values": numbers, "step": int(seen_images)})

    def picture(self, name: str, pixels: NDArray[np.uint8], seen_images: int) -> None:
        """Log a picture, uint8 [H, W, C], under a name that MLflow shows with a slider over the steps."""

        def save(path: Path) -> None:
            with path.open("wb") as file:  # np.save adds a suffix to a name
                np.save(file, pixels, allow_pickle=False)

        self._journal.append({"op": "picture", "name": name, "step": int(seen_images)}, save)

    def artifact(self, path: Path, folder: str, name: str | None = None) -> None:
        """Log a file or folder as it is now, by its name or another, into a folder of the artifacts ("" is the top)."""
        shown = name or path.name

        def copy(target: Path) -> None:
            target.mkdir()
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, target / shown)

        self._journal.append({"op": "artifact", "name": shown, "folder": folder}, copy)

    def written(self, name: str, write: Callable[[Path], None], folder: str) -> None:
        """Log a file that `write` writes for this alone."""

        def keep(target: Path) -> None:
            target.mkdir()
            write(target / name)

        self._journal.append({"op": "artifact", "name": name, "folder": folder}, keep)

    def made(self, generator_sha256: str) -> None:
        """Say which generator came of the run; where another run has made it before, this one is nested below that."""
        self._journal.append({"op": "made", GENERATOR_SHA256: generator_sha256})

    def nest(self, generator_sha256: str) -> None:
        """Put the run that made a generator below this one, unless it is below another."""
        self._journal.append({"op": "nest", GENERATOR_SHA256: generator_sha256})

    def describe(self, text: str) -> None:
        """Describe the run in Markdown, unless a person has; before `made`, which may have more to say."""
        self._journal.append({"op": "describe", "text": text})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""
        self._journal.append({"op": "tags", "values": {key: str(value) for key, value in values.items()}})

    def sink(self, event: Event) -> None:
        """An `EventSink`: scalars that people compare become metrics, pictures pictures, alarms a tag."""
        match event:
            case Scalars(seen_images, values):
                if shown := headline.trained(values):
                    self.metrics(shown, seen_images)
            case Picture(seen_images, name, pixels):
                self.picture(f"{name}/generated", pixels, seen_images)
            case Alarm(seen_images, name, _, _, _, text):
                self.tags({f"alarm.{name}": f"at {seen_images} images shown: {text}"})


@contextmanager
def training_run(
    *,
    experiment: Experiment,
    run_key: str,
    run_name: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    dataset: DatasetInfo | None,
    patience: Patience | None = None,
) -> Iterator[RunLog]:
    """Log to the run with this key, which is created or taken up again.

    Args:
        experiment: described in MLflow where it is not yet.
        run_key: what makes two trainings the same one, such as the checkpoint fingerprint.
        run_name: shown to people; used when the run is created, with a number where another has it already.
        params: by name, such as `network.width`; logged only where the run has no such parameter.
        tags: set in addition to the commit and the Prefect run.
        dataset: what it is trained on.
        patience: how long the delivery waits.
    """
    around = surroundings()
    opening: Op = {
        "op": "open",
        "by": "run_key",
        "experiment": asdict(experiment),
        RUN_KEY: run_key,
        "run_name": run_name,
        "params": dict(params),
        "tags": {**around, **tags},
        "dataset": None if dataset is None else {**asdict(dataset), "profile": dict(dataset.profile)},
    }
    journal = Journal(paths.SPOOL, MlflowStore(), opening, patience or Patience())
    status = "FAILED"
    try:
        log = RunLog(journal)
        if around.get(DIRTY) == "true":
            log.written(PATCH, write_patch, TRAINING_ARTIFACTS)
        yield log
        status = "FINISHED"
    except BaseException as error:
        status = _status(error)
        raise
    finally:
        journal.append({"op": "finish", "status": status})
        journal.close()


@contextmanager
def attach_run(
    *,
    experiment: str,
    generator_sha256: str,
    tags: Mapping[str, str] | None = None,
    patience: Patience | None = None,
) -> Iterator[RunLog]:
    """Log to the run that made this generator, or to a new one marked `ganlib.restored`; its status stays."""
    opening: Op = {
        "op": "open",
        "by": GENERATOR_SHA256,
        "experiment": experiment,
        GENERATOR_SHA256: generator_sha256,
        "tags": dict(tags or {}),
    }
    journal = Journal(paths.SPOOL, MlflowStore(), opening, patience or Patience())
    try:
        yield RunLog(journal)
    finally:
        journal.close()


def deliver_pending() -> None:
    """Deliver what dead processes left behind for this store; a damaged journal is moved aside with a warning.

    Raises:
        UserError: the store does not answer.
    """
    check_store()
    try:
        deliver_orphans(paths.SPOOL, MlflowStore())
    except Unreachable as error:
        raise UserError(
            f"{paths.SPOOL}: not delivered ({error}); nothing is lost; run again when that is corrected"
        ) from None


def surroundings() -> dict[str, str]:
    """Tags about who runs this, from which commit and in which Prefect run; what is unknown is left out."""
    found = {"mlflow.source.type": "LOCAL"}
    with suppress(KeyError, OSError):  # an account without a name, as in some containers
        found["mlflow.user"] = getpass.getuser()
    try:
        found |= _commit_tags()
    except DubiousOwnership as error:
        _log.warning("tracking: %s; until then no commit is recorded", error)
    flow_run = next((os.environ[name] for name in FLOW_RUN_VARIABLES if os.environ.get(name)), None)
    if flow_run:
        found["prefect.flow_run_id"] = flow_run
    if group := os.environ.get(GROUP_VARIABLE):
        found[GROUP] = group
    return found


def _commit_tags() -> dict[str, str]:
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    branch = git("rev-parse", "--abbrev-ref", "HEAD") or "HEAD"
    found = {"mlflow.source.git.commit": commit, "mlflow.source.git.branch": branch}
    changed = git("status", "--porcelain", "--untracked-files=no", *_OF_A_RUN)
    if changed is not None:
        found[DIRTY] = "true" if changed else "false"
    return found


def write_patch(path: Path) -> None:
    """Write the uncommitted changes that a run is made with, such as `git apply` takes."""
    git("diff", "--binary", f"--output={path.absolute()}", "HEAD", *_OF_A_RUN)


def commit_of(project: Path) -> str | None:
    """The commit that is checked out in a project's folder; None where git tells of none."""
    try:
        return git("rev-parse", "HEAD", project=project)
    except DubiousOwnership:
        return None


def _status(error: BaseException) -> str:
    match error:
        case KeyboardInterrupt():
            return "KILLED"
        case TrainingInterrupted():
            return "KILLED"
        case SystemExit(code=None | 0):
            return "FINISHED"
        case SystemExit(code=int(code)) if code > _SIGNAL_EXIT:
            return "KILLED"
    return "FAILED"
