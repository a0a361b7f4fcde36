"""The members of a zip, its directory read as a stream and trusted in nothing.

The format is described in PKWARE's APPNOTE.TXT; section numbers are of its
version 6.3.
"""

import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

from ganlib.datasets.files.names import is_junk, refuse_unsafe, tidy
from ganlib.datasets.files.places import open_place, open_unchanged, too_many, wrong
from ganlib.datasets.files.reading import read_each, read_heads
from ganlib.datasets.items import FileEntry, Refusal, printable

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED, _UTF8 = 0x1, 0x800
_MOST_COMMENT = 1 << 16
_IN_EXTRA_32 = 0xFFFFFFFF
# 4.3.7, 4.3.12, 4.3.14, 4.3.15, 4.3.16
_LOCAL = struct.Struct("<4s22xHH")
_MEMBER = struct.Struct("<4s4xHH4xLLLHHH4xLL")
_END_64 = struct.Struct("<4s28xQQQ")
_LOCATOR_64 = struct.Struct("<4s16x")
_END = struct.Struct("<4s6xHLLH")


@dataclass(frozen=True, slots=True, order=True)
class ZipEntry(FileEntry):
    """A member and where it is; its stamp is the checksum of its content."""

    offset: int
    packed_bytes: int
    method: int
    crc: int


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where the directory of members is; `shift` is what was put before the archive."""

    offset: int
    size_bytes: int
    members: int
    shift: int


@dataclass(frozen=True)
class Zip:
    """A zip, of this machine or behind a URL; `stamp` is its own, so that a change while it is read is noticed."""

    location: str
    max_files: int
    stamp: str
    sequential: bool = False

    @property
    def description(self) -> str:
        """What it is, for people."""
        return "zip"

    def entries(self) -> Iterator[FileEntry | Refusal]:
        """All members but folders and junk, in the order of the directory."""
        met: set[str] = set()
        with open_place(self.location) as file:
            try:
                directory = _find_directory(file)
                if directory.members > self.max_files:
                    raise too_many(self.location, self.max_files)
                for count, entry in enumerate(_members(file, directory), start=1):
                    if count > self.max_files:
                        raise too_many(self.location, self.max_files)
                    if entry is None:
                        continue
                    if isinstance(entry, ZipEntry) and entry.name in met:
                        yield Refusal(printable(entry.name), "unsafe_name", "a second member of this name")
                        continue
                    met.add(entry.name)
                    yield entry
            except (zipfile.BadZipFile, struct.error) as error:
                raise wrong(
                    self.location, f"not a zip, or a damaged one ({error}); expected a folder or an archive of images"
                ) from None

    def open(self, name: str) -> IO[bytes]:
        """Open a member; raises FileNotFoundError where it is not there."""
        for entry in self.entries():
            if entry.name == name and isinstance(entry, ZipEntry):
                return _opened(open_place(self.location), entry, close=True)
        raise FileNotFoundError(name)

    def stream(self) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
        """All members with their content."""
        with open_place(self.location) as file:
            for entry in self.entries():
                if isinstance(entry, ZipEntry):
                    with _opened(file, entry, close=False) as member:
                        yield entry, member
                elif isinstance(entry, Refusal):
                    yield entry

    def contents(self, entries: Sequence[FileEntry], limit_bytes: int) -> Iterator[bytes | Refusal]:
        """The content of each member in turn, or why it is not used."""
        with open_unchanged(self.location, self.stamp) as file:
            yield from read_each(self.location, partial(_opened_in, file), entries, limit_bytes)

    def heads(self, entries: Sequence[FileEntry]) -> Iterator[bytes]:
        """The first bytes of each member in turn."""
        with open_unchanged(self.location, self.stamp) as file:
            yield from read_heads(self.location, partial(_opened_in, file), entries)


def _find_directory(file: IO[bytes]) -> _Directory:
    """Read the record at the end of the archive, the one for large archives where it is there."""
    length = file.seek(0, 2)
    start = max(0, length - _END.size - _MOST_COMMENT)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise zipfile.BadZipFile("no end of the directory")
    _, members, size_bytes, offset, _ = _END.unpack_from(tail, at)
    end = start + at
    large = end - _LOCATOR_64.size - _END_64.size
    if large >= 0:
        file.seek(large)
        record = file.read(_END_64.size + _LOCATOR_64.size)
        if record.startswith(b"PK\x06\x06") and record.startswith(b"PK\x06\x07", _END_64.size):
            _, members, size_bytes, offset = _END_64.unpack_from(record)
            end = large
    begin = end - size_bytes
    if begin < offset:
        raise zipfile.BadZipFile("its directory is not where it says")
    return _Directory(begin, size_bytes, members, begin - offset)


def _members(file: IO[bytes], directory: _Directory) -> Iterator[ZipEntry | Refusal | None]:
    """The records of the directory, one at a time; None for folders and junk."""
    file.seek(directory.offset)
    left = directory.size_bytes
    packed_bytes = 0
    while left > 0:
        header = file.read(_MEMBER.size)
        signature, flags, method, crc, packed, size, *lengths, mode, offset = _MEMBER.unpack(header)
        if signature != b"PK\x01\x02":
            raise zipfile.BadZipFile("a record of its directory is damaged")
        rest = file.read(sum(lengths))
        left -= len(header) + len(rest)
        if left < 0 or len(rest) < sum(lengths):
            raise zipfile.BadZipFile("its directory is cut off")
        extra = rest[lengths[0] : lengths[0] + lengths[1]]
        size, packed, offset = _large(extra, size, packed, offset)
        # Members that share bytes make a small archive inflate to anything.
        packed_bytes += packed + _LOCAL.size + lengths[0]
        if packed_bytes > directory.offset:
            raise zipfile.BadZipFile("its members overlap, or are cut off")
        name = _decoded(rest[: lengths[0]], flags)
        reason = _reason(flags, method, stat.S_IFMT(mode >> 16))
        yield _judged(
            ZipEntry(tidy(name), size, f"{crc:08x}-{size}", offset + directory.shift, packed, method, crc), name, reason
        )


def _large(extra: bytes, *values: int) -> list[int]:
    """Sizes and offsets that need 64 bits are in an extra field, those alone and in this order (4.5.3)."""
    found: list[int] = []
    while len(extra) >= 4 and not found:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            found = list(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
        extra = extra[4 + length :]
    wide = iter(found)
    return [next(wide, value) if value == _IN_EXTRA_32 else value for value in values]


def _decoded(name: bytes, flags: int) -> str:
    # Old tools of Windows wrote backslashes between folders; in other code pages they are half of a letter.
    if flags & _UTF8 or name.isascii():
        return name.decode("utf-8", "surrogateescape").replace("\\", "/")
    return name.decode("cp437")


def _reason(flags: int, method: int, kind: int) -> tuple[str, str] | None:
    """Kind and detail of what forbids to open a member."""
    if kind not in (0, stat.S_IFREG):
        return "unsafe_name", "a link" if kind == stat.S_IFLNK else "not a regular file"
    if flags & _ENCRYPTED:
        return "damaged", "encrypted; expected no password"
    if method not in _METHODS:
        return "damaged", f"compression method {method}, expected store or deflate"
    return None


def _judged(entry: ZipEntry, name: str, reason: tuple[str, str] | None) -> ZipEntry | Refusal | None:
    refusal = refuse_unsafe(name)
    if refusal is not None:
        return refusal
    if name.endswith("/") or is_junk(entry.name):
        return None
    return entry if reason is None else Refusal(printable(entry.name), *reason)


def _opened_in(file: IO[bytes], entry: FileEntry) -> IO[bytes]:
    assert isinstance(entry, ZipEntry)
    return _opened(file, entry, close=False)


def _opened(file: IO[bytes], entry: ZipEntry, *, close: bool) -> IO[bytes]:
    """A member inflated while it is read, to no more than it declares, and checked at its end."""
    file.seek(entry.offset)
    header = file.read(_LOCAL.size)
    signature, name_bytes, extra_bytes = _LOCAL.unpack(header)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("no member where the directory says")
    file.seek(name_bytes + extra_bytes, 1)
    info = zipfile.ZipInfo(entry.name)
    info.compress_type, info.compress_size = entry.method, entry.packed_bytes
    info.file_size, info.CRC = entry.size_bytes, entry.crc
    if close:
        return cast(IO[bytes], zipfile.ZipExtFile(file, "r", info, close_fileobj=True))
    return cast(IO[bytes], zipfile.ZipExtFile(file, "r", info))
