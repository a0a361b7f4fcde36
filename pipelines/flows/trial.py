"""One of several trainings: an isolated run as far as the evaluation, in a process of its own, registered nowhere.

`python -m pipelines.flows.trial COMMIT NAME` is that process: it ends with whoever started it, and the same again goes
on where it stopped.
"""

import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import RunConfig
from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation
from pipelines import environment, paths
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE, fail
from pipelines.graph import snapshot, streaming, workspace
from pipelines.graph.dag import StageFailed
from pipelines.graph.repro import run_graph
from pipelines.graph.supervisor import signals_unwind
from pipelines.graph.workspace import Request, Say
from pipelines.preflight import check_project
from pipelines.tracking.runs import GROUP_VARIABLE

LAST_STAGE = "evaluate"
_LAST_LINES = 20


@dataclass(frozen=True)
class Trial:
    """A training that may have been done before.

    Attributes:
        label: for people, such as `seed 3`.
        name: of the isolated run; its content makes it.
        commit: what runs.
        tree: the content of that.
        folder: the project's within the repository.
        config: its parameters.
    """

    label: str
    name: str
    commit: str
    tree: str
    folder: Path
    config: RunConfig

    @classmethod
    def of(cls, label: str, taken: snapshot.Snapshot) -> "Trial":
        """The trial of what was taken of the project."""
        return cls(label, workspace.default_name(taken), taken.commit, taken.tree, taken.folder, taken.config)

    def project(self, home: Path) -> Path:
        """Where it works while it is at work."""
        return home / paths.RUNS / self.name / self.folder


class TrialFailed(Exception):
    """A trial did not come to its evaluation; the message is one line."""


def run_trial(
    home: Path, trial: Trial, *, group: str, say: Say, watch: Callable[[], None] = lambda: None
) -> Evaluation:
    """Run a trial, or take over what an earlier run of the same content has found.

    Args:
        home: the project's folder.
        trial: which.
        group: run key of the run in MLflow that it is nested below.
        say: hears its output, a line at a time.
        watch: is called often; what it raises stops the trial, which writes its checkpoint.

    Raises:
        TrialFailed: a stage failed.
    """
    found = finished(home, trial)
    if found is not None:
        say("taken over: it was made before")
        return found
    last: deque[str] = deque(maxlen=_LAST_LINES)

    def hear(line: str) -> None:
        if line:
            last.append(line)
            say(line)

    exit_code = streaming.run(
        [sys.executable, "-m", __name__, trial.commit, trial.name],
        cwd=home,
        env=os.environ | {GROUP_VARIABLE: group, "PYTHONUNBUFFERED": "1"},
        on_line=hear,
        watch=watch,
    )
    found = finished(home, trial) if exit_code == 0 else None
    if found is None:
        errors = [line.removeprefix("error: ") for line in last if line.startswith("error: ")]
        raise TrialFailed((errors or [f"ended with exit code {exit_code}"])[-1])
    return found


def finished(home: Path, trial: Trial) -> Evaluation | None:
    """What was found of a trial that is done; None of others."""
    text = workspace.finished_with(home, trial.name, trial.tree, paths.EVALUATION)
    if text is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, paths.EVALUATION.name)
        file.write_text(text, encoding="utf-8")
        return Evaluation.read(file)


def main(commit: str, name: str) -> int:
    """Run a commit of the project in this folder; the exit code."""
    environment.apply()
    try:
        with signals_unwind(), workspace.isolated(Path.cwd(), Request(ref=commit, name=name), say=_print) as place:
            check_project(place.project)
            run_graph(place.project, on_line=_print, last=LAST_STAGE)
    except UserError as error:
        return fail(str(error), USER_ERROR_EXIT_CODE)
    except StageFailed as error:
        return fail(str(error), USER_ERROR_EXIT_CODE if error.user_error else FAILURE_EXIT_CODE)
    return 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
