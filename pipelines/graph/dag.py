"""The DVC graph as data, and what becomes of its stages."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ganlib.errors import UserError
from pipelines import paths
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE
from pipelines.graph.differences import why_stale
from pipelines.graph.dvc_locks import OnWait, StillBusy, blocker, wait_for_process, wait_for_repository

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

Status = Literal["ran", "cached", "unchanged"]

# What DVC says of a stage that did not succeed, and of one whose command ended with an exit code.
FAILED = re.compile(r"ERROR: failed to reproduce '([^']+)': (.*)")
EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)")


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


# The graph; and what differs from dvc.lock, by stage, of those whose own inputs or outputs do.
GraphStatus = tuple[tuple[Stage, ...], Mapping[str, tuple[str, ...]]]


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
            if (refused := FAILED.match(line)) and not EXITED.search(line):
                return f"stage {self.name}: {refused[2]}"
        said = [line for line in self.last_lines if line and not FAILED.match(line)]
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


def read_status(project: Path, *, on_wait: OnWait, timeout_s: float) -> GraphStatus:
    """The graph, and what differs from dvc.lock of the stages whose own inputs or outputs do, as DVC sees them.

    Waits for other DVC processes that hold the repository or its files; `on_wait` hears whom for.

    Raises:
        UserError: as read_graph.
        StageHeldUp: another process held them for longer than `timeout_s` seconds.
    """
    from dvc.lock import LockError
    from dvc.repo import lock_repo

    deadline = time.monotonic() + timeout_s
    with repository(project) as repo, held_up("pipeline"):
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


@contextlib.contextmanager
def held_up(name: str) -> Iterator[None]:
    """Who gives up waiting for another DVC process raises StageHeldUp."""
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
