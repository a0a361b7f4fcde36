"""The members of a tar, plain or compressed."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING

from ganlib.datasets.files.compression import Compression, open_inflated
from ganlib.datasets.files.names import is_junk, refuse_unsafe, tidy
from ganlib.datasets.files.places import open_place, open_unchanged, too_many, wrong
from ganlib.datasets.files.reading import read_each, read_heads
from ganlib.datasets.files.tar_headers import DamagedTarError, TarMember, headers
from ganlib.datasets.items import FileEntry, Refusal, printable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_NO_FILE = {
    "link": ("unsafe_name", "a link"),
    "sparse": ("damaged", "a sparse file; expected plain ones"),
    "other": ("unsafe_name", "not a regular file"),
}


@dataclass(frozen=True, slots=True, order=True)
class TarEntry(FileEntry):
    """A member and where its content is."""

    offset: int


@dataclass(frozen=True)
class Tar:
    """A tar that is not compressed, of this machine or behind a URL.

    `stamp` is the archive's own and that of its members: dates inside are
    often all the same.
    """

    location: str
    max_files: int
    stamp: str
    sequential: bool = False

    @property
    def description(self) -> str:
        """What it is, for people."""
        return "tar"

    def entries(self) -> Iterator[FileEntry | Refusal]:
        """All members but folders and junk, in the order of the archive."""
        for entry, _ in self._walk():
            yield entry

    def open(self, name: str) -> IO[bytes]:
        """Open a member; raises FileNotFoundError where it is not there."""
        for entry in self.entries():
            if entry.name == name and isinstance(entry, TarEntry):
                return io.BufferedReader(_Slice(open_place(self.location), entry.offset, entry.size_bytes, close=True))
        raise FileNotFoundError(name)

    def stream(self) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
        """All members with their content."""
        return _with_content(self._walk())

    def contents(self, entries: Sequence[FileEntry], limit_bytes: int) -> Iterator[bytes | Refusal]:
        """The content of each member in turn, or why it is not used."""
        with open_unchanged(self.location, self.stamp) as file:
            yield from read_each(self.location, partial(_opened_in, file), entries, limit_bytes)

    def heads(self, entries: Sequence[FileEntry]) -> Iterator[bytes]:
        """The first bytes of each member in turn."""
        with open_unchanged(self.location, self.stamp) as file:
            yield from read_heads(self.location, partial(_opened_in, file), entries)

    def _walk(self) -> Iterator[tuple[FileEntry | Refusal, IO[bytes]]]:
        with open_place(self.location) as file:
            yield from _judged(file, self.location, self.max_files, self.stamp, seekable=True)


@dataclass(frozen=True)
class CompressedTar:
    """A compressed tar, of this machine or behind a URL: read from first to last each time."""

    location: str
    max_files: int
    stamp: str
    compression: Compression
    sequential: bool = field(default=True, init=False)

    @property
    def description(self) -> str:
        """What it is, for people."""
        return "compressed tar"

    def entries(self) -> Iterator[FileEntry | Refusal]:
        """All members but folders and junk, in the order of the archive."""
        for entry, _ in self._walk():
            yield entry

    def open(self, name: str) -> IO[bytes]:
        """Not offered."""
        raise io.UnsupportedOperation(f"{name}: members of a compressed tar are read in order")

    def stream(self) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
        """All members with their content."""
        return _with_content(self._walk())

    def _walk(self) -> Iterator[tuple[FileEntry | Refusal, IO[bytes]]]:
        with open_inflated(self.location, self.compression) as file:
            yield from _judged(file, self.location, self.max_files, self.stamp, seekable=False)


class _Slice(io.RawIOBase):
    """Some bytes of an open file as a file; sequential unless the file can seek."""

    def __init__(self, file: IO[bytes], offset: int, size_bytes: int, *, close: bool = False) -> None:
        self._file = file
        self._offset = offset
        self._size = size_bytes
        self._close = close
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        if self._file.seekable():
            self._file.seek(self._offset + self._at)
        content = self._file.read(len(view))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if self._close and not self.closed:
            self._file.close()
        super().close()


def _opened_in(file: IO[bytes], entry: FileEntry) -> IO[bytes]:
    assert isinstance(entry, TarEntry)
    return io.BufferedReader(_Slice(file, entry.offset, entry.size_bytes))


def _judged(
    file: IO[bytes], location: str, max_files: int, stamp: str, *, seekable: bool
) -> Iterator[tuple[FileEntry | Refusal, IO[bytes]]]:
    """All members but folders and junk, each with its content, which is read before the next is asked for."""
    met: set[str] = set()
    try:
        for count, member in enumerate(headers(file, seekable=seekable), start=1):
            if count > max_files:
                raise too_many(location, max_files)
            entry = _entry(member, stamp)
            if entry is None:
                continue
            if isinstance(entry, TarEntry):
                if entry.name in met:
                    entry = Refusal(printable(entry.name), "unsafe_name", "a second member of this name")
                met.add(entry.name)
            yield entry, io.BufferedReader(_Slice(file, member.offset, member.size_bytes))
    except DamagedTarError as error:
        raise wrong(location, f"not a tar, or a damaged one ({error}); download or pack it again") from None


def _entry(member: TarMember, stamp: str) -> TarEntry | Refusal | None:
    name = tidy(member.name)
    refusal = refuse_unsafe(member.name)
    if refusal is not None:
        return refusal
    if member.kind == "folder" or is_junk(name):
        return None
    if member.kind != "file":
        return Refusal(printable(name), *_NO_FILE[member.kind])
    return TarEntry(name, member.size_bytes, stamp, member.offset)


def _with_content(
    walk: Iterator[tuple[FileEntry | Refusal, IO[bytes]]],
) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
    for entry, file in walk:
        if isinstance(entry, Refusal):
            yield entry
        else:
            with file:
                yield entry, file
