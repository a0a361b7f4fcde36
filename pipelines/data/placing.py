"""Files into `data/raw`, whole or not at all, and under DVC's eyes."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ganlib.config import DataOptions
from ganlib.counting import counted
from ganlib.datasets.files import Folder
from ganlib.datasets.files.links import OUTSIDE, LinkEntry, may_open
from ganlib.datasets.items import Refusal, printable
from ganlib.errors import UserError
from ganlib.replacing import replacing
from pipelines import environment
from pipelines.git import git


def check_free(project: Path, target: Path, *, force: bool) -> None:
    """See that a place in `data/raw` may be written, before anything is downloaded or copied.

    Raises:
        UserError: something is there and `force` is false, or git keeps it or tells nothing of it.
    """
    if kept_in_git(project, target):
        raise UserError(f"{target}: is kept in git, which this would change; choose another --name")
    if not force and (os.path.lexists(project / target) or (project / f"{target}.dvc").exists()):
        raise UserError(f"{target}: exists already; choose another --name, or --force to replace it")
    if (project / target).is_symlink() and (project / target).is_dir():
        raise UserError(f"{target}: is a link to another folder; remove the link or choose another --name")


def kept_in_git(project: Path, target: Path) -> bool:
    """Whether git tracks the file or something in the folder."""
    return bool(git("ls-files", "--", str(target), project=project))


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


def copy_in(source: Path, target: Path, options: DataOptions, notify: Callable[[str], None]) -> tuple[Refusal, ...]:
    """Copy a file or folder, replacing what is there as a whole; returns what was left out.

    `notify` hears now and then how far it has come.

    What `ganlib.datasets.files` skips or refuses stays behind: hidden files and
    what storage leaves behind, most links that lead outside, pipes and devices.

    Raises:
        UserError: more than `data.cleaning.max_dropped_share` of the files would stay behind; nothing is replaced.
    """
    if not source.is_dir():
        with replacing_file(target) as partial:
            shutil.copy2(source, partial)
        return ()
    with replacing(target) as folder:
        left_out = []
        count = 0
        files = Folder(str(source), options.limits.max_files)
        total = sum(1 for _ in files.names())
        for (entry,) in counted(((each,) for each in files.entries()), total, f"copying to {target}", notify):
            count += 1
            if isinstance(entry, Refusal):
                left_out.append(entry)
            elif isinstance(entry, LinkEntry) and not may_open(f"{source}/{entry.name}", source):
                left_out.append(Refusal(printable(entry.name), "unsafe_name", OUTSIDE))
            else:
                (folder / entry.name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / entry.name, folder / entry.name)
        most = options.cleaning.max_dropped_share
        if len(left_out) > most * count:
            raise UserError(
                f"{printable(str(source))}: {len(left_out)} of {count} files cannot be copied, expected at most the "
                f"share data.cleaning.max_dropped_share={most}; first: {left_out[0].name}: {left_out[0].detail}"
            )
        return tuple(left_out)


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
