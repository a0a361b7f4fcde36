"""`dvc repro` as a supervised child process, and what it says of the stages."""

import contextlib
import itertools
import math
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from pipelines.graph import durations, streaming
from pipelines.graph.dag import EXITED, FAILED, StageFailed, StageOutcome, StageTimedOut, Status, held_up, repository
from pipelines.graph.dvc_locks import blocker, wait_for_process, wait_for_repository
from pipelines.graph.dvc_process import DvcProcess, environment
from pipelines.graph.locking import Lock, hold_pipeline

LAST_LINES = 20

_MARKERS: dict[Status, re.Pattern[str]] = {
    "ran": re.compile(r"Running stage '(.+)':"),
    "cached": re.compile(r"Stage '(.+)' is cached - skipping run, checking out outputs"),
    "unchanged": re.compile(r"Stage '(.+)' didn't change, skipping"),
}
# What DVC says about its own files; hints that a person who runs `dvc` by hand can use.
_HOUSEKEEPING = re.compile(
    r"(Updating|Generating) lock file '.*'|To track the changes with git, run:|\tgit add .*"
    r"|To enable auto staging, run:|\tdvc config core\.autostage true|Use `dvc push` to send your updates.*|"
)


class StageByStage:
    """Stages in their order by one DVC process, whose caller waits for one stage after the other.

    DVC begins at once and goes on while the caller is busy with what a stage has brought, until the context ends.
    Where a stage fails, a new process begins with it when it is waited for again.

    Args:
        dvc: what runs them.
        names: of the stages; what they depend on has to be there by the time.
        force: run them, changed or not.
        env: added to the stages' environment.
    """

    def __init__(self, dvc: DvcProcess, names: Sequence[str], *, force: bool, env: Mapping[str, str]) -> None:
        self._project = dvc.project
        self._names = names
        self._options = ["--single-item", *(["--force"] if force else [])]
        begun = dvc.reproduce([*self._options, *names], env) if names else None
        self._repro = _Repro(dvc.project, lock=dvc.lock, env=env, begun=begun)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._repro.end()

    def begin_again(self) -> None:
        """End what is at work; a new process begins with the stage that is waited for next."""
        self._repro.end()

    def wait_for(self, name: str, *, on_line: Callable[[str], None], timeout_s: float | None) -> StageOutcome:
        """What became of a stage: DVC ran it, took it from the run cache, or left it.

        Raises:
            StageFailed: the stage failed, or DVC refused to run it.
            StageTimedOut: it took longer than `timeout_s` seconds.
        """
        transcript = _Transcript(self._project, on_line, on_outcome=lambda _outcome: None, name=name)
        started = time.monotonic()
        rest = self._names[self._names.index(name) :]
        self._repro.follow([*self._options, *rest], transcript, timeout_s=timeout_s, alone=True)
        status = transcript.outcomes[-1].status if transcript.outcomes else "unchanged"
        return StageOutcome(name, status, time.monotonic() - started)


def run_graph(
    project: Path,
    *,
    on_line: Callable[[str], None],
    on_outcome: Callable[[StageOutcome], None] = lambda _outcome: None,
    force: bool = False,
    last: str | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[StageOutcome, ...]:
    """`dvc repro` over the whole graph, or as far as the stage `last`; `on_outcome` hears of each that is done.

    Waits for another process that drives the same project's stages, saying so
    through `on_line`.

    Raises:
        StageFailed: a stage failed, or DVC refused to run it.
    """
    transcript = _Transcript(project, on_line, on_outcome, name="pipeline")
    arguments = [*(["--force"] if force else []), *([] if last is None else [last])]
    _repro(project, arguments, transcript, env=env or {})
    return tuple(transcript.outcomes)


def make_anew(project: Path, name: str, *, on_line: Callable[[str], None], env: Mapping[str, str]) -> None:
    """Run a stage and all that it depends on, whatever is known of them, and leave DVC's caches as they are.

    Raises:
        StageFailed: a stage failed, or DVC refused to run it.
    """
    transcript = _Transcript(project, on_line, on_outcome=lambda _outcome: None, name=name)
    _repro(project, ["--force", "--no-run-cache", "--no-commit", name], transcript, env=env)


def _repro(project: Path, arguments: Sequence[str], transcript: "_Transcript", *, env: Mapping[str, str]) -> None:
    with hold_pipeline(project, on_wait=transcript.add) as lock:
        repro = _Repro(project, lock=lock, env=env)
        try:
            repro.follow(arguments, transcript, timeout_s=None, alone=False)
        finally:
            repro.end()


class _Transcript:
    """Reads what `dvc repro` prints: which stage is at work, and what became of it."""

    def __init__(
        self, project: Path, on_line: Callable[[str], None], on_outcome: Callable[[StageOutcome], None], *, name: str
    ) -> None:
        self.name = name
        self._project = project
        self.outcomes: list[StageOutcome] = []
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line = on_line
        self._on_outcome = on_outcome
        self._status: Status | None = None
        self._started = time.monotonic()

    def add(self, line: str) -> None:
        if marker := _marker(line):
            self.close_stage()
            (self._status, self.name), self._started = marker, time.monotonic()
        if failed := FAILED.match(line):
            self.name, self._status = failed[1], None
        if not _HOUSEKEEPING.fullmatch(line):
            self.last_lines.append(line)
            self._on_line(line)

    def close_stage(self) -> None:
        # A stage that ran before DVC had to wait is found unchanged at the next try.
        if self._status is not None and self.name not in {each.name for each in self.outcomes}:
            outcome = StageOutcome(self.name, self._status, time.monotonic() - self._started)
            self.outcomes.append(outcome)
            if outcome.status == "ran":
                durations.remember(self._project, self.name, outcome.seconds)
            self._on_outcome(outcome)
        self._status = None


class _Repro:
    """`dvc repro` as a process, started anew where another DVC process held what it needed; or one that has begun."""

    def __init__(
        self, project: Path, *, lock: Lock, env: Mapping[str, str], begun: streaming.Command | None = None
    ) -> None:
        self._project = project
        self._lock = lock
        self._env = env
        self._command = begun
        self._lines: Iterator[str] = iter(begun or ())

    def end(self) -> None:
        """End the process, if there is one."""
        if self._command is not None:
            self._command.close()
            self._command = None

    def follow(
        self, arguments: Sequence[str], transcript: _Transcript, *, timeout_s: float | None, alone: bool
    ) -> None:
        """Hand on what the process says until it has ended, or has come to another stage.

        Args:
            arguments: of `dvc repro`, for where no process is at work.
            transcript: hears it.
            timeout_s: None for all the time there is.
            alone: follow the stage of the transcript's name, and leave the process at work where it begins with the
                next one.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            command = self._command or self._start(arguments, transcript, deadline)
            command.deadline = deadline
            with contextlib.ExitStack() as ended:
                ended.callback(self.end)
                try:
                    for line in self._lines:
                        if alone and (marker := _marker(line)) and marker[1] != transcript.name:
                            self._lines = itertools.chain([line], self._lines)
                            ended.pop_all()
                            transcript.close_stage()
                            return
                        transcript.add(line)
                except TimeoutError:
                    assert timeout_s is not None
                    raise StageTimedOut(transcript.name, timeout_s, tuple(transcript.last_lines)) from None
            exit_code = command.exit_code
            holder = blocker(transcript.last_lines) if exit_code != 0 else None
            if holder is None:
                break
            transcript.last_lines.clear()
            with held_up(transcript.name):
                wait_for_process(*holder, on_wait=transcript.add, deadline=deadline)
        if exit_code != 0:
            exited = [found for line in transcript.last_lines if (found := EXITED.search(line))]
            stage_exit_code = int(exited[-1][1]) if exited else exit_code
            raise StageFailed(transcript.name, stage_exit_code, tuple(transcript.last_lines))
        transcript.close_stage()

    def _start(self, arguments: Sequence[str], transcript: _Transcript, deadline: float) -> streaming.Command:
        with repository(self._project) as repo, held_up(transcript.name):
            wait_for_repository(repo, on_wait=transcript.add, deadline=deadline)
        # -P: no folder of the project can shadow one of DVC's modules. A `dvc push` may begin while a stage runs, and
        # hold the lock when it ends.
        self._command = streaming.Command(
            [sys.executable, "-P", "-m", "dvc", "--wait-for-lock", "repro", *arguments],
            cwd=self._project,
            env=environment() | dict(self._env),
            keep_open=[self._lock.descriptor],
        )
        self._lines = iter(self._command)
        return self._command


def _marker(line: str) -> tuple[Status, str] | None:
    """What DVC does with a stage, and the stage's name, where a line tells it."""
    for status, pattern in _MARKERS.items():
        if found := pattern.fullmatch(line):
            return status, found[1]
    return None
