"""`gan sweep`: the trials of a space, several at a time, each an isolated run; killed and started again, it goes on."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from ganlib.config import RunConfig
from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation
from pipelines import paths
from pipelines.flows.parallel import Submit, run_in_flow
from pipelines.flows.trial import Trial, TrialFailed
from pipelines.git import act
from pipelines.graph import snapshot, workspace
from pipelines.graph.locking import hold
from pipelines.graph.supervisor import signals_unwind
from pipelines.graph.workspace import Say
from pipelines.report.rounding import number
from pipelines.stages.describing import experiment_of
from pipelines.sweeping.attempt import Attempt, Lags, Stopped
from pipelines.sweeping.found import Found
from pipelines.sweeping.space import TRAIN_SECONDS, Space, check_space, overrides, read_space
from pipelines.sweeping.study import SWEEPS, Study, note_run
from pipelines.sweeping.telling import tell_mlflow
from pipelines.tracking.runs import GROUP_KIND, training_run
from pipelines.tracking.training_time import training_minutes

if TYPE_CHECKING:
    from optuna.trial import Trial as Asked

KIND = "sweep"
# So many trials that come to nothing, and none before them that did, are a mistake of the space or the machine.
PATIENCE = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")
_DIGITS = 16
_SECONDS = 60.0


@dataclass(frozen=True)
class _Ended:
    """A trial, and its evaluation, or why there is none."""

    asked: "Asked"
    trial: Trial
    result: object


def sweep(home: Path, *, file: Path, trials: int, parallel: int, name: str | None, dask: str | None, say: Say) -> Found:
    """Try points of a space until there are so many, counting those of earlier calls.

    Args:
        home: the project's folder.
        file: of the space.
        trials: how many shall have ended: evaluated, stopped because they lagged, or failed.
        parallel: at a time.
        name: of the sweep; None: that of the file.
        dask: where trials run, as of `run_in_flow`.
        say: hears progress.

    Raises:
        UserError: a mistake in the space or the project, or nothing but failures.
        ServerFailed: the Prefect server of our own.
    """
    home = home.resolve()
    name = name or file.stem
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name}: expected letters, digits, and . _ = + - between them")
    space = read_space(file)
    taken = snapshot.take(home, ref=None, overrides=())
    check_space(space, file, _parameters(home, taken.commit, taken.folder), taken.config)
    with signals_unwind(), hold(home / SWEEPS / f"{name}.lock", on_wait=say):
        study = Study.open(home, name, space, taken.commit)
        if study.commit != taken.commit and _tree(home, study.commit) != taken.tree:
            say(
                f"sweep {name}: goes on with what it began with, {study.commit[: snapshot.SHORT]}; the project has "
                "changed since, and --name begins another sweep"
            )
        # Or git might forget what no branch holds.
        act("update-ref", f"refs/sweeps/{name}", study.commit, project=home, doing=f"sweep {name}")
        return _Sweep(home, name, file, space, study, trials, parallel, dask, say).run()


@dataclass
class _Sweep:
    """What a sweep works with."""

    home: Path
    name: str
    file: Path
    space: Space
    study: Study
    trials: int
    parallel: int
    dask: str | None
    say: Say
    stop: threading.Event = field(default_factory=threading.Event)
    ended: "Queue[_Ended]" = field(default_factory=Queue)
    # Not told to the study as long as nothing else has ended: the next start repeats them.
    failures: "list[tuple[Asked, str]]" = field(default_factory=list)

    def run(self) -> Found:
        """Until all trials have ended."""
        config = snapshot.take(self.home, ref=self.study.commit, overrides=()).config
        dead, before = self.study.repeat_the_dead(), len(self.study.tried())
        again = f", {dead} broken off and repeated" if dead else ""
        self.say(f"sweep {self.name}: {before} of {self.trials} trials have ended{again}; {self.parallel} at a time")
        with training_run(
            experiment=experiment_of(config),
            run_key=self._group(),
            run_name=f"{config.register_.model_name} · sweep {self.name}",
            params=self.space.described(),
            tags={GROUP_KIND: KIND},
            dataset=None,
        ) as log:
            if before < self.trials:
                run_in_flow(self.home, f"sweep {self.name}", self.parallel, self._drive, dask=self.dask, say=self.say)
            found = Found(self.name, self.space, tuple(self.study.tried()), tuple(self.study.best()))
            tell_mlflow(log, found, self.study, self.file)
        return found

    def _drive(self, submit: Submit) -> None:
        running = 0
        try:
            while True:
                while running < self.parallel and self._ended_count() + running < self.trials:
                    running += self._start(submit)
                if not running:
                    return
                ended = self.ended.get()
                running -= 1
                self._tell(ended)
        except BaseException:
            self.stop.set()
            raise

    def _ended_count(self) -> int:
        return len(self.study.tried()) + len(self.failures)

    def _start(self, submit: Submit) -> bool:
        """Submit a trial; False where its parameters are refused, so that it has ended."""
        asked = self.study.ask()
        label = f"trial {asked.number}"
        changes = overrides(asked.params)
        try:
            trial = Trial.of(label, snapshot.take(self.home, ref=self.study.commit, overrides=changes))
        except UserError as error:
            self._fail(asked, str(error).splitlines()[0])
            return False
        self.say(f"{label}: {', '.join(changes)}")
        note_run(asked, trial.name)
        attempt = Attempt(
            self.home,
            self.name,
            self.space,
            asked.number,
            trial,
            self._group(),
            self.stop if self.dask is None else None,
        )
        submit(label, attempt, lambda result: self.ended.put(_Ended(asked, trial, result)))
        return True

    def _tell(self, ended: _Ended) -> None:
        asked, label, result = ended.asked, ended.trial.label, ended.result
        told: str
        match result:
            case Evaluation():
                try:
                    values = [self._value(name, result, ended.trial.config) for name in self.space.objectives]
                except TrialFailed as error:
                    self._fail(asked, str(error))
                    return
                note_run(asked, ended.trial.name, result.generator_sha256)
                self.study.tell(asked, values)
                told = ", ".join(
                    f"{name} {number(value)}" for name, value in zip(self.space.objectives, values, strict=True)
                )
            case Lags():
                self.study.tell_pruned(asked)
                workspace.give_up(self.home, ended.trial.name)
                told = "stopped, as it lags behind earlier trials"
            case TrialFailed():
                workspace.give_up(self.home, ended.trial.name)
                self._fail(asked, str(result))
                return
            case Stopped():
                return
            case _:
                self._fail(asked, f"whatever ran it is gone ({result})")
                return
        for failed, why in self.failures:
            self.study.tell_failed(failed, why)
        self.failures.clear()
        self.say(f"{label}: {told} ({self._ended_count()} of {self.trials} ended)")

    def _fail(self, asked: "Asked", why: str) -> None:
        self.say(f"trial {asked.number}: failed: {why}")
        if self.study.tried():
            self.study.tell_failed(asked, why)
            return
        self.failures.append((asked, why))
        if len(self.failures) >= min(PATIENCE, self.trials):
            raise UserError(f"sweep {self.name}: the first {len(self.failures)} trials failed, the last one: {why}")

    def _value(self, objective: str, found: Evaluation, config: RunConfig) -> float:
        if objective == TRAIN_SECONDS:
            minutes = training_minutes(config.tracking.experiment, found.generator_sha256)
            if minutes is None:
                raise TrialFailed("the store does not know how long its training took")
            return minutes * _SECONDS
        figure = found.metrics.get(objective)
        if figure is None:
            raise TrialFailed(f"{objective} was not measured: {found.skipped.get(objective, 'it is off')}")
        return figure.value if figure.interval is None else figure.interval.estimate

    def _group(self) -> str:
        told = json.dumps([self.name, self.study.commit, self.space.model_dump(mode="json")])
        return f"{KIND}-{hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}"


def _parameters(home: Path, commit: str, folder: Path) -> str:
    return act("show", f"{commit}:{(folder / paths.PARAMS).as_posix()}", project=home, doing="gan sweep")


def _tree(home: Path, commit: str) -> str:
    return act("rev-parse", f"{commit}^{{tree}}", project=home, doing="gan sweep")
