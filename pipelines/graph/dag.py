"""The DVC graph as data, and its stages as supervised child processes."""

import contextlib
import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ganlib.errors import UserError
from pipelines import paths
from pipelines.environment import quiet_environment
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE
from pipelines.graph import durations, streaming
from pipelines.graph.differences import why_stale
from pipelines.graph.dvc_locks import OnWait, StillBusy, blocker, wait_for_process, wait_for_repository
from pipelines.graph.locking import Lock, hold_pipeline

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

Status = Literal["ran", "cached", "unchanged"]

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
_FAILED = re.compile(r"ERROR: failed to reproduce '([^']+)': (.*)")
_EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml; paths are relative to the project."""

    name: str
    description: str
    command: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    upstream: tuple[str, ...]


@dataclass(frozen=True)
class StageOutcome:
    """What became of a stage: it ran, came from DVC's run cache, or was left as it is."""

    name: str
    status: Status
    seconds: float


class StageFailed(Exception):
    """A stage did not succeed; the message is one line.

    `exit_code` is the stage's own, or DVC's where the stage never ran;
    `last_lines` is the end of the output.
    """

    def __init__(self, name: str, exit_code: int, last_lines: tuple[str, ...]) -> None:
        self.name = name
        self.exit_code = exit_code
        self.last_lines = last_lines
        super().__init__(name, exit_code, last_lines)

    @property
    def user_error(self) -> bool:
        """The stage found a mistake that a person has to mend: to try again is useless."""
        return self.exit_code == USER_ERROR_EXIT_CODE

    def __str__(self) -> str:
        for line in self.last_lines:
            if (refused := _FAILED.match(line)) and not _EXITED.search(line):
                return f"stage {self.name}: {refused[2]}"
        said = [line for line in self.last_lines if line and not _FAILED.match(line)]
        last = said[-1].removeprefix("error: ") if said else "no output"
        return (
            f"stage {self.name}: {last}"
            if self.user_error
            else (f"stage {self.name} failed with exit code {self.exit_code}: {last}")
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class StageTimedOut(StageFailed):
    """A stage took longer than it may and was ended."""

    def __init__(self, name: str, timeout_s: float, last_lines: tuple[str, ...]) -> None:
        super().__init__(name, -1, last_lines)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"stage {self.name} took longer than {self.timeout_s:g} s (flow.timeout_s.{self.name}) and was stopped"


class StageHeldUp(StageFailed):
    """Another DVC process held what the stage needs for longer than the stage may take."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, FAILURE_EXIT_CODE, (why,))

    def __str__(self) -> str:
        return f"stage {self.name}: {self.last_lines[0]}"


def read_graph(project: Path) -> tuple[Stage, ...]:
    """The stages of dvc.yaml, each after those it depends on, else in the order of the file.

    Raises:
        UserError: no DVC project, or DVC cannot read dvc.yaml or params.yaml.
    """
    with repository(project) as repo:
        return _graph(repo)


def read_status(
    project: Path, *, on_wait: OnWait, timeout_s: float
) -> tuple[tuple[Stage, ...], Mapping[str, tuple[str, ...]]]:
    """The graph, and what differs from dvc.lock of the stages whose own inputs or outputs do, as DVC sees them.

    Waits for other DVC processes that hold the repository or its files; `on_wait` hears whom for.

    Raises:
        UserError: as read_graph.
        StageHeldUp: another process held them for longer than `timeout_s` seconds.
    """
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    deadline = time.monotonic() + timeout_s
    with repository(project) as repo, _held_up("pipeline"):
        while True:
            wait_for_repository(repo, on_wait=on_wait, deadline=deadline)
            try:
                with lock_repo(repo):  # DVC reads its files anew for each command that locks by itself
                    names = _names(repo)
                    # A data file that is tracked for itself (`dvc add`) has a status, too, but nothing to run.
                    changed = repo.status()
                    return _graph(repo), {
                        names[stage.addressing]: why_stale(stage)
                        for stage in repo.index.stages
                        if stage.addressing in names and stage.addressing in changed
                    }
            except LockError as error:
                if found := blocker(str(error).splitlines()):
                    wait_for_process(*found, on_wait=on_wait, deadline=deadline)


def run_stage(
    project: Path,
    name: str,
    *,
    lock: Lock,
    on_line: Callable[[str], None],
    timeout_s: float | None,
    force: bool = False,
    env: Mapping[str, str] | None = None,
) -> StageOutcome:
    """Let DVC bring one stage up to date: run it, take it from the run cache, or leave it.

    The caller drives the graph and therefore holds the project's lock. `env`
    is added to the stage's environment.

    Raises:
        StageFailed: the stage failed, or DVC refused to run it.
        StageTimedOut: it took longer than `timeout_s` seconds.
    """
    arguments = ["--single-item", *(["--force"] if force else []), name]
    transcript = _Transcript(project, on_line, on_outcome=lambda _outcome: None, name=name)
    started = time.monotonic()
    _repro(project, arguments, transcript, lock=lock, timeout_s=timeout_s, env=env or {})
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
    with hold_pipeline(project, on_wait=on_line) as lock:
        arguments = [*(["--force"] if force else []), *([] if last is None else [last])]
        _repro(project, arguments, transcript, lock=lock, timeout_s=None, env=env or {})
    return tuple(transcript.outcomes)


def make_anew(project: Path, name: str, *, on_line: Callable[[str], None], env: Mapping[str, str]) -> None:
    """Run a stage and all that it depends on, whatever is known of them, and leave DVC's caches as they are.

    Raises:
        StageFailed: a stage failed, or DVC refused to run it.
    """
    transcript = _Transcript(project, on_line, on_outcome=lambda _outcome: None, name=name)
    arguments = ["--force", "--no-run-cache", "--no-commit", name]
    with hold_pipeline(project, on_wait=on_line) as lock:
        _repro(project, arguments, transcript, lock=lock, timeout_s=None, env=env)


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
        for status, pattern in _MARKERS.items():
            if found := pattern.fullmatch(line):
                self.close_stage()
                self.name, self._status, self._started = found[1], status, time.monotonic()
        if failed := _FAILED.match(line):
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


def _repro(
    project: Path,
    arguments: list[str],
    transcript: _Transcript,
    *,
    lock: Lock,
    timeout_s: float | None,
    env: Mapping[str, str],
) -> None:
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    while True:
        with repository(project) as repo, _held_up(transcript.name):
            wait_for_repository(repo, on_wait=transcript.add, deadline=deadline)
        try:
            exit_code = streaming.run(
                # -P: no folder of the project can shadow one of DVC's modules. A `dvc push` may begin while a stage
                # runs, and hold the lock when it ends.
                [sys.executable, "-P", "-m", "dvc", "--wait-for-lock", "repro", *arguments],
                cwd=project,
                env=_environment() | dict(env),
                on_line=transcript.add,
                timeout_s=None if timeout_s is None else deadline - time.monotonic(),
                keep_open=[lock.descriptor],
            )
        except TimeoutError:
            assert timeout_s is not None
            raise StageTimedOut(transcript.name, timeout_s, tuple(transcript.last_lines)) from None
        holder = blocker(transcript.last_lines) if exit_code != 0 else None
        if holder is None:
            break
        transcript.last_lines.clear()
        with _held_up(transcript.name):
            wait_for_process(*holder, on_wait=transcript.add, deadline=deadline)
    if exit_code != 0:
        exited = [found for line in transcript.last_lines if (found := _EXITED.search(line))]
        stage_exit_code = int(exited[-1][1]) if exited else exit_code
        raise StageFailed(transcript.name, stage_exit_code, tuple(transcript.last_lines))
    transcript.close_stage()


def _environment() -> dict[str, str]:
    """Ours for DVC and the stages: `python` in dvc.yaml is the interpreter that runs this."""
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    return {**os.environ, **quiet_environment(), "PATH": path, "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def _held_up(name: str) -> Iterator[None]:
    try:
        yield
    except StillBusy as error:
        raise StageHeldUp(name, str(error)) from None


@contextlib.contextmanager
def repository(project: Path) -> "Iterator[Repo]":
    """DVC's view of a project; its errors become one line for the user."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(project)) as repo:
            yield repo
    except NotDvcRepoError:
        raise UserError(f"{project}: not a DVC project; expected a folder with .dvc and dvc.yaml") from None
    except LockError:
        raise  # no mistake of anybody's; those who need the lock wait
    except DvcException as error:
        raise UserError(f"{project / paths.DVC_FILE}: {' '.join(str(error).split())}") from None


def _graph(repo: "Repo") -> tuple[Stage, ...]:
    import networkx as nx
    from dvc.dependency.param import ParamsDependency

    graph = repo.index.graph.reverse()
    names = _names(repo)
    place = [stage.addressing for stage in repo.index.stages]
    ordered = nx.lexicographical_topological_sort(graph, key=lambda stage: place.index(stage.addressing))
    return tuple(
        Stage(
            name=names[stage.addressing],
            description=stage.desc or "",
            command=stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd),
            deps=tuple(_relative(dep, repo.root_dir) for dep in stage.deps if not isinstance(dep, ParamsDependency)),
            outs=tuple(_relative(out, repo.root_dir) for out in stage.outs),
            upstream=tuple(names[other.addressing] for other in graph.predecessors(stage) if other.addressing in names),
        )
        for stage in ordered
        if stage.addressing in names
    )


def _names(repo: "Repo") -> dict[str, str]:
    """Of what can run: from DVC's addresses, which depend on the working directory, to names that do not."""
    from dvc.stage import PipelineStage

    names = {}
    for stage in repo.index.stages:
        if isinstance(stage, PipelineStage):
            file = os.path.relpath(stage.path, repo.root_dir)
            names[stage.addressing] = stage.name if file == str(paths.DVC_FILE) else f"{file}:{stage.name}"
    return names


def _relative(file: "Output", root: str) -> str:
    """The path within the project of a dependency or output; a remote one as it is written."""
    return os.path.relpath(file.fs_path, root) if file.protocol == "local" else str(file.def_path)
