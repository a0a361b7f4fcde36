"""Files into `data/raw`, whole or not at all, and under DVC's eyes."""

import logging
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganlib.datasets.items import printable
from ganlib.errors import UserError
from ganlib.replacing import replacing
from pipelines import environment


def check_free(project: Path, target: Path, *, force: bool) -> None:
    """See that a place in `data/raw` may be written, before anything is downloaded or copied.

    Raises:
        UserError: something is there and `force` is false, or git keeps it.
    """
    if kept_in_git(project, target):
        raise UserError(f"{target}: is kept in git, which this would change; choose another --name")
    if not force and (os.path.lexists(project / target) or (project / f"{target}.dvc").exists()):
        raise UserError(f"{target}: exists already; choose another --name, or --force to replace it")
    if (project / target).is_symlink() and (project / target).is_dir():
        raise UserError(f"{target}: is a link to another folder; remove the link or choose another --name")


def kept_in_git(project: Path, target: Path) -> bool:
    """Whether git tracks the file or something in the folder."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--", str(target)], cwd=project, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # no git, hence nothing in it
        return False
    return listed.returncode == 0 and bool(listed.stdout)


@contextmanager
def replacing_file(destination: Path) -> Iterator[Path]:
    """A path beside `destination` to write; it takes its place when the block succeeds."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f".{destination.name}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)


def copy_in(source: Path, target: Path) -> tuple[str, ...]:
    """Copy a file or folder, replacing what is there as a whole; returns what was left out.

    Hidden files are never read as images and stay behind. A link inside a folder
    is followed to a file of the same folder; other links, pipes and devices are
    left out.
    """
    if not source.is_dir():
        with replacing_file(target) as partial:
            shutil.copy2(source, partial)
        return ()
    with replacing(target) as folder:
        return tuple(_copy_folder(source, folder, Path(os.path.realpath(source))))


def version(project: Path, target: Path) -> str:
    """Have DVC keep a file or folder of the project; returns the name of the `.dvc` file that does.

    Raises:
        UserError: DVC refuses.
    """
    environment.apply()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # below are hints that we give ourselves
    try:
        with Repo(str(project)) as repo:
            (stage,) = repo.add(str(project / target))
            return os.path.relpath(str(stage.path), os.path.realpath(repo.root_dir))
    except DvcException as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"{target}: is in place, but DVC does not keep it yet ({reason}); mend that, then gan data add {target}"
        ) from None


def size_text(path: Path) -> str:
    """Such as `8 files, 186.2 MB`."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    size = sum(each.stat().st_size for each in files)
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size / 1e6:.1f} MB"


def _copy_folder(source: Path, target: Path, inside: Path) -> Iterator[str]:
    """Copy into an existing folder; yields what is left out."""
    with os.scandir(source) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            below = target / entry.name
            below.mkdir()
            yield from _copy_folder(Path(entry.path), below, inside)
        elif _is_own_file(entry, inside):
            shutil.copy2(entry.path, target / entry.name)
        else:
            yield printable(entry.path)


def _is_own_file(entry: os.DirEntry[str], inside: Path) -> bool:
    """Whether it is a regular file, itself or behind a link that stays in the folder."""
    real = Path(os.path.realpath(entry.path))
    return real.is_relative_to(inside) and real.exists() and stat.S_ISREG(real.stat().st_mode)
