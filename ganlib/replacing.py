"""A folder that is replaced as a whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST_ONE_BY_ONE = 100


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """An empty folder beside `destination` that takes its place when the block succeeds.

    When the block fails, the destination stays as it was. What an earlier crash
    left behind is cleaned or, if it struck between the two renames, restored.
    There must be one writer at a time.
    """
    destination = destination.resolve()
    partial = destination.with_name(f".{destination.name}.partial")
    previous = destination.with_name(f".{destination.name}.previous.partial")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if previous.exists() and not destination.exists():
        previous.rename(destination)
    for leftover in (partial, previous):
        if leftover.exists():
            shutil.rmtree(leftover)
    partial.mkdir()
    try:
        yield partial
        _flush_all(partial)
        _swap(partial, destination, previous)
    finally:
        if partial.exists():
            shutil.rmtree(partial)
    if previous.exists():
        shutil.rmtree(previous)


def _swap(partial: Path, destination: Path, previous: Path) -> None:
    had_one = destination.exists()
    if had_one:
        destination.rename(previous)
    try:
        partial.rename(destination)
    except OSError:
        if had_one:
            previous.rename(destination)
        raise
    _flush(destination.parent)


def _flush_all(folder: Path) -> None:
    """Have the disk hold all of a folder before it takes its place.

    One by one where they are few, as what others have written need not be waited for; of many files at once, as each
    wait is some milliseconds.
    """
    paths = [*folder.rglob("*"), folder]
    if len(paths) > _MOST_ONE_BY_ONE:
        os.sync()
    else:
        for path in paths:
            _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
