"""The project's folder: parameters, git, DVC, locks, and what waits for a store."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil

from ganlib.errors import UserError
from pipelines import paths
from pipelines.doctor.finding import Finding
from pipelines.git import git
from pipelines.graph.locking import holder
from pipelines.preflight import check_project
from pipelines.registry.champion import registry_lock
from pipelines.tracking.delivery import MlflowStore
from pipelines.tracking.journal import left_over
from pipelines.tracking.store import URI_VARIABLE

_SHORT = 8
_DVC_RWLOCK = Path(".dvc/tmp/rwlock")
# Locks of our own, and those of DVC and of libraries, by what they are for.
LOCKS = {
    paths.PIPELINE_LOCK: "a run",
    paths.WAITING_LOCK: "a run that waits for its turn",
    paths.PACKING_LOCK: "packing",
    paths.STORE_LOCK: "the store is being opened",
    Path(".dvc/tmp/lock"): "a DVC command",
}


def parameters(project: Path) -> Iterator[Finding]:
    """Whether parameters, data and stages fit, as `gan check` finds it.

    Raises:
        UserError: they do not.
    """
    check_project(project)
    yield Finding(f"{paths.PARAMS} is valid, and the data are there")


def commit(project: Path) -> Iterator[Finding]:
    """Which commit a run would be tagged with.

    Raises:
        UserError: git tells of none.
    """
    head = git("rev-parse", "HEAD", project=project)
    if head is None:
        raise UserError("git finds no commit here, and runs name theirs; install git, or `git clone` the project")
    branch = git("rev-parse", "--abbrev-ref", "HEAD", project=project)
    changed = len((git("status", "--porcelain", "--untracked-files=no", project=project) or "").splitlines())
    files = "one file" if changed == 1 else f"{changed} files"
    since = f"{files} changed since: runs say so" if changed else "nothing changed since"
    yield Finding(f"commit {head[:_SHORT]} on {branch}, {since}")


def remote(project: Path) -> Iterator[Finding]:
    """Where `dvc push` goes, and whether data are on this machine alone without it."""
    if not (project / ".dvc").is_dir():
        yield Finding("this folder is no DVC project: `git clone` the project, or `dvc init`", well=False)
        return
    from dvc.config import Config

    remotes = Config(str((project / ".dvc").absolute())).get("remote", {})
    if remotes:
        yield Finding("; ".join(f"remote {name}: {each.get('url')}" for name, each in remotes.items()))
        return
    tracked = sorted(str(file.relative_to(project)) for file in (project / paths.RAW).glob("**/*.dvc"))
    add = "`dvc remote add --default NAME ADDRESS`"
    if tracked:
        told = f"no remote, so that the data of {', '.join(tracked)} are on this machine alone; {add}, then `dvc push`"
        yield Finding(told, well=False)
    else:
        yield Finding(f"no remote; `dvc push` needs one: {add}")


def locks(project: Path) -> Iterator[Finding]:
    """Which locks are held, and by whom; the kernel frees those of processes that have ended."""
    files = {**{project / path: what for path, what in LOCKS.items()}, registry_lock(): "the registry"}
    files |= {lock: f"isolated run {lock.stem}" for lock in sorted((project / paths.RUNS).glob("*.lock"))}
    held = {path: who for path in files if (who := holder(path)) is not None}
    for path, who in held.items():
        yield Finding(f"{files[path]}: held by {who} ({path})")
    for who in _dvc_holders(project / _DVC_RWLOCK):
        yield Finding(f"files of the pipeline: held by {who}")
        held[_DVC_RWLOCK] = who
    if not held:
        yield Finding("none is held")


def spool(project: Path) -> Iterator[Finding]:
    """What was logged and has not reached its store."""
    ours = MlflowStore().name
    waiting = list(left_over(project / paths.SPOOL))
    for each in waiting:
        if each.store is None:
            yield Finding(f"{each.folder} is damaged and is not delivered; look into it, then delete it", well=False)
        elif holder(each.lock) is not None:
            yield Finding(f"{each.folder} is of a process at work, for {each.store}")
        else:
            there = "" if each.store == ours else f"{URI_VARIABLE}={each.store} "
            told = f"{each.folder} waits for {each.store}; when it answers, `{there}gan compare --last 2` delivers it"
            yield Finding(told, well=False)
    if not waiting:
        yield Finding("nothing waits for a store")


def _dvc_holders(file: Path) -> Iterator[str]:
    """Processes at work for which DVC has noted that they read or write files; it keeps notes of dead ones, too."""
    try:
        notes = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # being written at this moment
        return
    entries = [entry for each in notes.values() for entry in [*each.get("read", ()), each.get("write")] if entry]
    for pid, command in {int(entry["pid"]): str(entry["cmd"]) for entry in entries}.items():
        if psutil.pid_exists(pid):
            yield f"process {pid} ({command})"
