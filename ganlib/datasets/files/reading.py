"""Reading whole files under a limit, whatever their container declares."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Protocol

from ganlib.datasets.files.formats import HEAD_BYTES
from ganlib.datasets.files.places import trouble_told
from ganlib.datasets.items import FileEntry, Files, Refusal, printable

# Read in pieces, so that what a file inflates to is known before it fills the memory.
_PIECE_BYTES = 1 << 20
# What readers of archives raise; not what disks do.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error)


class RandomAccess(Files, Protocol):
    """Files that can be read in any order."""

    def contents(self, entries: Sequence[FileEntry], limit_bytes: int) -> Iterator[bytes | Refusal]:
        """The content of each file in turn, or why it is not used.

        Raises:
            UserError: the source cannot be read.
        """

    def heads(self, entries: Sequence[FileEntry]) -> Iterator[bytes]:
        """The first `HEAD_BYTES` of each file in turn, or fewer.

        Raises:
            UserError: the source cannot be read.
        """


def too_large(entry: FileEntry, limit_bytes: int) -> Refusal:
    """A file that holds more than it may."""
    return Refusal(printable(entry.name), "too_large", f"more than data.limits.max_file_bytes={limit_bytes}")


def read_limited(file: IO[bytes], entry: FileEntry, limit_bytes: int) -> bytes | Refusal:
    """All of an open file, if it is no more than `limit_bytes` and not damaged; OSError is the caller's."""
    try:
        # One more than there should be, so that one call tells the end, too, of most files.
        asked = max(1, min(entry.size_bytes + 1, _PIECE_BYTES))
        content = piece = file.read(asked)
        if len(piece) == asked:
            gathered = bytearray(piece)
            while piece and len(gathered) <= limit_bytes:
                piece = file.read(_PIECE_BYTES)
                gathered += piece
            content = bytes(gathered)
    except DAMAGE as error:
        return Refusal(printable(entry.name), "damaged", printable(f"damaged in the archive: {error}"))
    return content if len(content) <= limit_bytes else too_large(entry, limit_bytes)


def read_each(
    location: str, opened: Callable[[FileEntry], IO[bytes]], entries: Iterable[FileEntry], limit_bytes: int
) -> Iterator[bytes | Refusal]:
    """Open and read files one after another."""
    for entry in entries:
        if entry.size_bytes > limit_bytes:
            yield too_large(entry, limit_bytes)
            continue
        try:
            content = _opened_and_read(opened, entry, limit_bytes)
        except Exception:
            # Surroundings, not data: a quarantine row would make the result depend on the day.
            with trouble_told(location, entry.name):
                raise
        yield content


def read_heads(
    location: str, opened: Callable[[FileEntry], IO[bytes]], entries: Iterable[FileEntry]
) -> Iterator[bytes]:
    """The first `HEAD_BYTES` of each file in turn; none of what is damaged."""
    for entry in entries:
        try:
            with trouble_told(location, printable(entry.name)), opened(entry) as file:
                head = file.read(HEAD_BYTES)
        except DAMAGE:
            head = b""
        yield head


def stream_each(files: Files) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
    """What `Files.stream` gives where files can be opened by name."""
    for entry in files.entries():
        if isinstance(entry, Refusal):
            yield entry
        else:
            with files.open(entry.name) as file:
                yield entry, file


def _opened_and_read(opened: Callable[[FileEntry], IO[bytes]], entry: FileEntry, limit_bytes: int) -> bytes | Refusal:
    try:
        file = opened(entry)
    except DAMAGE as error:
        return Refusal(printable(entry.name), "damaged", printable(f"damaged in the archive: {error}"))
    with file:
        return read_limited(file, entry, limit_bytes)
