"""The headers of a tar, one after another, whether or not one can seek in it.

Python's own reader takes as much memory as a hostile header asks for. The
format is that of POSIX.1-2017, pax, with the long names of GNU tar.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal

BLOCK_BYTES = 512
_REGULAR, _FOLDER, _LINKS = b"0\x007", b"5", b"12"
# Links, devices, folders and pipes, whatever size their headers give.
_WITHOUT_CONTENT = b"123456"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL, _SPARSE = b"L", b"K", b"x", b"g", b"S"
# Longer than any path of an operating system, several times.
_MOST_EXTENSION_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16

Kind = Literal["file", "folder", "link", "sparse", "other"]


class DamagedTarError(Exception):
    """This is no tar, or a damaged one; the message says where."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """A header: whatever the kind, `size_bytes` of content follow at `offset`."""

    name: str
    kind: Kind
    size_bytes: int
    offset: int


def is_header(block: bytes) -> bool:
    """Whether these 512 bytes carry the checksum of a tar header."""
    if len(block) < BLOCK_BYTES or not any(block):
        return False
    found = _octal(block[148:156])
    plain = block[:148] + b" " * 8 + block[156:BLOCK_BYTES]
    total = sum(plain)
    # Old writers summed signed bytes.
    return found == total or found == total - 256 * sum(byte > 127 for byte in plain)


def headers(file: IO[bytes], *, seekable: bool) -> Iterator[TarMember]:
    """The headers of all members; between two of them the caller may read the content, and no further.

    Raises:
        DamagedTarError: a header is damaged or the file ends before the mark of its end.
    """
    at = 0
    long_name: str | None = None
    pax: dict[str, bytes] = {}
    while (block := _block(file, at)) is not None:
        at += BLOCK_BYTES
        if not is_header(block):
            raise DamagedTarError(f"no header at byte {at - BLOCK_BYTES}")
        kind, size_bytes = block[156:157], _size(block, at)
        if kind in (_LONG_NAME, _PAX, _PAX_FOR_ALL, _LONG_LINK):
            content = _extension(file, size_bytes, at)
            at += _padded(size_bytes)
            if kind == _LONG_NAME:
                long_name = _text(content)
            elif kind == _PAX:
                pax = _records(content)
            continue
        at += _sparse_maps(file, block, at)
        member = _member(block, kind, size_bytes, at, long_name, pax)
        yield member
        long_name, pax = None, {}
        at += _padded(member.size_bytes)
        if seekable:
            file.seek(at)
        else:
            _skip(file, at)
    if not seekable:
        # To the end, where the checksums of the compressed stream are.
        while file.read(_PIECE_BYTES):
            pass


def _block(file: IO[bytes], at: int) -> bytes | None:
    """The next header; None at the mark of the end, a block of zeros."""
    block = file.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES:
        raise DamagedTarError(f"cut off at byte {at + len(block)}")
    return block if any(block) else None


def _skip(file: IO[bytes], to: int) -> None:
    """Read up to a place, from wherever the caller has come to."""
    while (left := to - file.tell()) > 0:
        if not file.read(min(left, _PIECE_BYTES)):
            raise DamagedTarError(f"cut off at byte {file.tell()}")


def _member(
    block: bytes, kind: bytes, size_bytes: int, at: int, long_name: str | None, pax: dict[str, bytes]
) -> TarMember:
    name = long_name or _short_name(block)
    if "path" in pax:
        name = _text(pax["path"])
    if "size" in pax:
        size_bytes = _decimal(pax["size"], at)
    shown: Kind = "other"
    if kind == _FOLDER or (kind in _REGULAR and name.endswith("/")):
        shown = "folder"
    elif kind == _SPARSE or any(key.startswith("GNU.sparse.") for key in pax):
        shown = "sparse"
    elif kind in _LINKS:
        shown = "link"
    elif kind in _REGULAR:
        shown = "file"
    return TarMember(name, shown, 0 if kind in _WITHOUT_CONTENT else size_bytes, at)


def _extension(file: IO[bytes], size_bytes: int, at: int) -> bytes:
    """What belongs to the next header."""
    if size_bytes > _MOST_EXTENSION_BYTES:
        raise DamagedTarError(f"a header of {size_bytes} bytes at byte {at}, expected at most {_MOST_EXTENSION_BYTES}")
    padded = _padded(size_bytes)
    content = file.read(padded)
    if len(content) < padded:
        raise DamagedTarError(f"cut off at byte {at + len(content)}")
    return content[:size_bytes]


def _sparse_maps(file: IO[bytes], block: bytes, at: int) -> int:
    """Skip the further headers of an old GNU sparse file; their bytes."""
    if block[156:157] != _SPARSE:
        return 0
    start, more = at, block[482]
    while more:
        extension = file.read(BLOCK_BYTES)
        at += len(extension)
        if len(extension) < BLOCK_BYTES:
            raise DamagedTarError(f"cut off at byte {at}")
        more = extension[504]
    return at - start


def _short_name(block: bytes) -> str:
    name = _text(block[:100])
    # GNU tar keeps other things where POSIX has the folders of a long path.
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _records(content: bytes) -> dict[str, bytes]:
    """The `length key=value` lines of a pax header."""
    found: dict[str, bytes] = {}
    while content.strip(b"\0"):
        digits, _, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
        key, equals, value = content[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or length > len(content):
            raise DamagedTarError("a damaged pax header")
        found[key.decode("utf-8", "replace")] = value
        content = content[length:]
    return found


def _size(block: bytes, at: int) -> int:
    field = block[124:136]
    size_bytes = int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field)
    if not 0 <= size_bytes < 1 << 63:
        raise DamagedTarError(f"no size in the header before byte {at}")
    return size_bytes


def _decimal(value: bytes, at: int) -> int:
    if not value.isdigit() or len(value) > 18:
        raise DamagedTarError(f"no size in the pax header before byte {at}")
    return int(value)


def _octal(field: bytes) -> int:
    """A number as headers have them; -1 if it is none."""
    digits = field.strip(b" \0")
    return -1 if digits.strip(b"01234567") else int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
