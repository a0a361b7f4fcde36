"""One trial of a sweep, wherever it is run: all that is given and returned can be pickled."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganlib.evaluation.record import Evaluation
from pipelines.flows.trial import Trial, TrialFailed, run_trial
from pipelines.stages.measured import measured
from pipelines.sweeping.space import Space
from pipelines.sweeping.study import Study


class Lags(Exception):
    """The trial is not worth its end."""


class Stopped(Exception):
    """The sweep is asked to end."""


@dataclass(frozen=True)
class Attempt:
    """What to run.

    Attributes:
        home: the project's folder.
        sweep: name of the sweep.
        space: what it searches.
        number: of the trial.
        trial: what it runs.
        group: run key of the sweep's run in MLflow.
        stop: asks it to end, where it is a thread of the sweep's own process; elsewhere it ends with its process.
    """

    home: Path
    sweep: str
    space: Space
    number: int
    trial: Trial
    group: str
    stop: threading.Event | None

    def __call__(self) -> Evaluation | TrialFailed | Lags | Stopped:
        """What the trial finds, or why it finds nothing."""
        try:
            return run_trial(self.home, self.trial, group=self.group, say=self._say, watch=self._watch())
        except (TrialFailed, Lags, Stopped) as error:
            return error

    def _say(self, line: str) -> None:
        sys.stdout.write(f"{self.trial.label} | {line}\n")
        sys.stdout.flush()

    def _watch(self) -> Callable[[], None]:
        """Looks whether to end: on request, or as the in-training distance lags."""
        study = None if self.space.pruning is None else Study(self.home, self.sweep, self.space)
        sign = 1 if self.space.directions()[0] == "minimize" else -1
        every, reported = self.trial.config.train.measure_every_images, set[int]()

        def look() -> None:
            if self.stop is not None and self.stop.is_set():
                raise Stopped
            if study is None:
                return
            for seen_images, distance in measured(self.trial.project(self.home)):
                step = round(seen_images / every)
                if step not in reported:
                    reported.add(step)
                    if study.lags(self.number, step, sign * distance):
                        raise Lags

        return look
