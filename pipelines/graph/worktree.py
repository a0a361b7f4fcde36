"""Git worktrees that work as the project does: on its DVC cache, with its data."""

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ganlib.datasets.files.places import is_url, local_path
from ganlib.errors import UserError
from pipelines import paths
from pipelines.git import act
from pipelines.graph.dag import repository
from pipelines.graph.locking import hold

if TYPE_CHECKING:
    from dvc.repo import Repo

_DVC_CONFIG = Path(".dvc/config.local")  # written last


@contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """Whoever adds or removes a worktree of the project holds this: git's list of them has no lock."""
    with hold(home / paths.OWN_SCRATCH / "worktrees.lock", on_wait=lambda _text: None):
        yield


def add(home: Path, root: Path, project: Path, what: Sequence[str], *, doing: str) -> None:
    """Make a worktree whole, in the place of what was left of one, or leave nothing.

    Args:
        home: the project's folder.
        root: the worktree's.
        project: the project's in the worktree.
        what: the last arguments of `git worktree add`.
        doing: what this is for, to begin an error with.

    Raises:
        UserError: git cannot, or the disk is full.
    """
    remove(home, root)
    try:
        with _told_with_room(home, doing=doing):
            try:  # no hooks: DVC's own would check out all data as copies
                act("-c", "core.hooksPath=/dev/null", "worktree", "add", *what, project=home, doing=doing)
            except UserError as error:
                raise UserError(f"{error}; {_room(home)}") from None
            _share_cache(home, project)
    except UserError:
        remove(home, root)
        raise


def is_whole(project: Path) -> bool:
    """Whether `add` has finished."""
    return (project / _DVC_CONFIG).exists()


def remove(home: Path, root: Path) -> None:
    """Remove a worktree, be it half-made."""
    shutil.rmtree(root, ignore_errors=True)
    act("worktree", "prune", project=home, doing=f"removing {root}")


def restore(home: Path, project: Path, *, say: Callable[[str], None]) -> None:
    """Bring what DVC has in its cache, and data from its remote; what neither git nor DVC knows is read where it lies.

    Args:
        home: the project's folder.
        project: the project's in the worktree; its parameters may be those of older code.
        say: hears what takes time, and what is read outside the worktree.

    Raises:
        UserError: the remote does not answer or lacks the data, a relative path leads out of the project, or the disk
            is full.
    """
    from dvc.exceptions import DvcException

    inputs = dict(local_inputs(yaml.safe_load((project / paths.PARAMS).read_text(encoding="utf-8"))))
    with _told_with_room(home, doing=str(project)), repository(project) as repo:
        checkout(repo)
        for parameter, path in inputs.items():
            record = record_of(project, path)
            if record is None or (project / path).exists() or not repo.config["remote"]:
                continue
            say(f"fetching {path}")
            try:
                repo.pull(targets=[str(record)])
            except DvcException as error:
                why = " ".join(str(error).split())[:200]
                raise UserError(f"{parameter}={path}: neither in DVC's cache nor in its remote ({why})") from None
    for parameter, path in inputs.items():
        _link(home, project, parameter, path, say)


def checkout(repo: "Repo") -> None:
    """Bring what is in the cache. Without targets, whose names DVC would look up in the folder that we are in."""
    noisy = logging.getLogger("dvc_data.index.checkout")  # warns of each output that was never made
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        repo.checkout(force=True, allow_missing=True)
    finally:
        noisy.setLevel(level)


def _share_cache(home: Path, project: Path) -> None:
    """The checkout's own settings and its cache, out of which files are linked rather than copied."""
    from dvc.config import Config

    with repository(home) as repo:
        settings = repo.config.read("local")
        settings["remote"] = repo.config.read()["remote"]  # their paths may be relative to the checkout
        cache = repo.cache.local_cache_dir
    settings["cache"] = settings.get("cache", {}) | {"dir": cache, "type": "reflink,hardlink,symlink,copy"}
    # What DVC remembers of files goes with the worktree.
    settings["core"] = settings.get("core", {}) | {"site_cache_dir": str(project / ".dvc/tmp/site")}
    with Config(str(project / ".dvc"), validate=False).edit("local") as local:
        local.update(settings)


def local_inputs(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Those that name files of this machine, with their paths."""
    source = str(parameters["data"]["source"])
    if not is_url(source):
        yield "data.source", local_path(source)
    for name, file in parameters["extractor"].get("weights_files", {}).items():
        yield f"extractor.weights_files.{name}", Path(file)
    start = parameters["train"].get("init_from")
    if start is not None and not start["source"].startswith("models:"):
        yield "train.init_from.source", Path(start["source"])


def _link(home: Path, project: Path, parameter: str, path: Path, say: Callable[[str], None]) -> None:
    here, there = project / path, home / path
    if here.exists() or not there.exists() or record_of(project, path) is not None:
        return
    if ".." in path.parts:
        raise UserError(f"{parameter}={path}: leads out of the project; a worktree needs the whole path, {there}")
    here.parent.mkdir(parents=True, exist_ok=True)
    here.unlink(missing_ok=True)
    here.symlink_to(there)
    say(f"{parameter}={path} is in neither git nor DVC; it is read where it lies")


def record_of(project: Path, path: Path) -> Path | None:
    """DVC's record of a file or of a folder around it."""
    found = (each.with_name(f"{each.name}.dvc") for each in (path, *path.parents) if each.name)
    return next((each for each in map(project.joinpath, found) if each.is_file()), None)


@contextmanager
def _told_with_room(home: Path, *, doing: str) -> Iterator[None]:
    """A disk that is full, or fails otherwise, as one line for the user, with the room that is left."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:  # written by ourselves, or by a database of DVC's
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{doing}: its worktree cannot be made ({why}); {_room(home)}") from None


def _room(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**20:.1f} MiB are free on the disk of {folder}"
