"""The log of the images that were made here, by which any of them can be looked up.

A line of JSON each: the address of the pixels, the generator, what it was asked for, when and by which command. A file
that has grown large is put aside under a number.
"""

import fcntl
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlib.config.base import Options
from ganlib.errors import UserError
from ganlib.marking import Origin, pixels_sha256
from pipelines import paths

_CURRENT = "made.jsonl"
_MOST_BYTES = 64 << 20
# It comes first in a line: the rest is read of those alone that are asked for.
_BEFORE = '{"pixels_sha256":"'
_ADDRESS = slice(len(_BEFORE), len(_BEFORE) + 64)


class Made(Options):
    """An image that was made here."""

    pixels_sha256: str
    generator_sha256: str
    request: Mapping[str, Any]
    when: str
    by: str


def record(images: Iterable[tuple[NDArray[np.uint8], Origin]], *, by: str, folder: Path = paths.MADE) -> None:
    """Add images, uint8 [H, W, C], with their origins; all in one write, so that processes may share the log.

    Args:
        images: that were made.
        by: the command that made them.
        folder: of the log.

    Raises:
        OSError: it cannot be written.
    """
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = [
        Made(
            pixels_sha256=pixels_sha256(pixels),
            generator_sha256=origin.generator_sha256,
            request={key: value for key, value in origin.request.items() if value is not None},
            when=when,
            by=by,
        ).model_dump_json()
        for pixels, origin in images
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = folder / _CURRENT
        with current.open("ab") as log:
            log.write("".join(f"{line}\n" for line in lines).encode())
            full = log.tell() > _MOST_BYTES
        if full:
            names = (folder / f"made-{number:06}.jsonl" for number in itertools.count(1))
            current.rename(next(name for name in names if not name.exists()))


def find(sha256s: Iterable[str], *, folder: Path = paths.MADE) -> dict[str, Made]:
    """The first record of each of the addresses that is in the log.

    Raises:
        UserError: a line of it is damaged.
    """
    wanted = set(sha256s)
    found: dict[str, Made] = {}
    for file, number, line in _lines(folder):
        address = line[_ADDRESS]
        if address in wanted and address not in found:
            try:
                found[address] = Made.model_validate_json(line)
            except ValueError:
                raise UserError(f"{file}, line {number}: damaged; delete the line") from None
    return found


def _lines(folder: Path) -> Iterator[tuple[Path, int, str]]:
    for file in sorted(folder.glob("made*.jsonl"), key=lambda each: (each.name == _CURRENT, each.name)):
        with file.open(encoding="utf-8") as log:
            for number, line in enumerate(log, start=1):
                yield file, number, line
