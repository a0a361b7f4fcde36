"""Which links of a folder are followed.

A link to a file of the same folder is followed. One that leads outside could
make anybody's files part of the images, so it is followed to one kind of file
only: a regular file whose name is the checksum of its content, as in the caches
of DVC and of Hugging Face and in git-annex. Who can name the checksum of a file
has its content already, so that such a link gives nothing away.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ganlib.datasets.files.places import local_stamp
from ganlib.datasets.items import FileEntry, Refusal, printable

OUTSIDE = "a link that leads outside the folder; cp -rL FOLDER COPY makes a copy with the files themselves"
_ALGORITHMS = {32: "md5", 64: "sha256"}
# Either alone, or with the first two digits as the folder, or behind the kind and size that git-annex writes.
_DIGEST = re.compile(r"(?:.*--)?([0-9a-f]{32}|[0-9a-f]{64})(?:\.\w+)*")


@dataclass(frozen=True, slots=True, order=True)
class LinkEntry(FileEntry):
    """A link to a file outside, whose content must have this checksum (hex)."""

    digest: str


def followed(path: str, name: str, inside: Path) -> FileEntry | Refusal:
    """What a path that is neither a folder nor a regular file is used as.

    Args:
        path: of this machine.
        name: inside the folder.
        inside: the folder, without links.
    """
    # Unlike Path.resolve, this returns for a link to itself, in every version of Python.
    target = os.path.realpath(path)
    if not os.path.islink(path):  # noqa: PTH114 - as all here, once an image
        return Refusal(printable(name), "unsafe_name", "not a regular file")
    is_inside = Path(target).is_relative_to(inside)
    digest = digest_in_name(target)
    if not is_inside and digest is None:
        return Refusal(printable(name), "unsafe_name", OUTSIDE)
    if not os.path.isfile(target):  # noqa: PTH113 - false, not an error, for names that are too long
        return Refusal(printable(name), "unsafe_name", "a link to something that is no file")
    status = os.lstat(target)
    if is_inside:
        return FileEntry(name, status.st_size, local_stamp(status))
    assert digest is not None
    return LinkEntry(name, status.st_size, local_stamp(status), digest)


def digest_in_name(path: str) -> str | None:
    """The checksum (hex) that a path ends in; None where it ends in none."""
    folders, _, file = path.rpartition("/")
    names = (file, folders.rpartition("/")[2] + file)
    return next((match[1] for match in map(_DIGEST.fullmatch, names) if match), None)


def is_content(content: bytes, digest: str) -> bool:
    """Whether these bytes have a checksum."""
    return hashlib.new(_ALGORITHMS[len(digest)], content, usedforsecurity=False).hexdigest() == digest


def may_open(path: str, inside: Path) -> bool:
    """Whether a file may be opened, wherever the links in its path lead."""
    target = os.path.realpath(path)
    if Path(target).is_relative_to(inside):
        return True
    digest = digest_in_name(target)
    if digest is None or not os.path.isfile(target):  # noqa: PTH113
        return False
    return _is_named_so(target, local_stamp(os.lstat(target)), digest)


@lru_cache(maxsize=4096)
def _is_named_so(path: str, _stamp: str, digest: str) -> bool:
    """Whether a file has a checksum; read once, as tables and shards are opened again and again."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, _ALGORITHMS[len(digest)]).hexdigest() == digest
