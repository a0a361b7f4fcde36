"""Compressed files read as a stream, with a bound to what little may inflate to."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Literal, Protocol, cast

from ganlib.datasets.files.places import open_place, wrong

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Compression = Literal["gzip", "bzip2", "xz", "zstandard"]
_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
# Images hardly inflate. What does so this much is made to fill a disk or a memory.
_FREE_BYTES = 1 << 30
_MOST_TIMES = 250
_XZ_MEMORY_BYTES = 256 << 20
_BUFFER_BYTES = 1 << 17
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


def compression_of(head: bytes) -> Compression | None:
    """How a file is compressed, by its first bytes."""
    return next((compression for magic, compression in _MAGIC.items() if head.startswith(magic)), None)


def open_inflated(location: str, compression: Compression) -> IO[bytes]:
    """Open a compressed file for reading what is in it, from first to last.

    Raises:
        UserError: it cannot be opened; later, when it is read: it is damaged
            or cut off, or inflates to more than a gibibyte and 250 times what
            was read of it.
    """
    file = open_place(location)
    return io.BufferedReader(_Inflated(file, _inflater(file, compression), location), _BUFFER_BYTES)


def _inflater(file: IO[bytes], compression: Compression) -> Callable[[int], bytes]:
    match compression:
        case "gzip":
            return gzip.GzipFile(fileobj=file, mode="rb").read1
        case "bzip2":
            return _Streams(file, bz2.BZ2Decompressor).read
        case "xz":
            # Without a limit a header of a few bytes asks for 4 GiB.
            return _Streams(file, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)).read
        case "zstandard":
            from pyarrow import CompressedInputStream, PythonFile

            stream = CompressedInputStream(PythonFile(file, "r"), "zstd")
            return cast(Callable[[int], bytes], stream.read)


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Streams:
    """One or more compressed streams in a row."""

    def __init__(self, file: IO[bytes], make: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._make = make
        self._decompressor = make()

    def read(self, most: int) -> bytes:
        """Up to `most` bytes; none at the end."""
        fresh = b""
        while True:
            if self._decompressor.eof:
                fresh = (self._decompressor.unused_data or self._file.read(_BUFFER_BYTES)).lstrip(b"\0")
                if not fresh:
                    return b""
                self._decompressor = self._make()
            elif self._decompressor.needs_input and not fresh:
                fresh = self._file.read(_BUFFER_BYTES)
                if not fresh:
                    raise EOFError("it ends before its time")
            content = self._decompressor.decompress(fresh, max_length=most)
            fresh = b""
            if content:
                return content


class _Inflated(io.RawIOBase):
    """What a decompressor gives, its trouble told and its sum bounded."""

    def __init__(self, file: IO[bytes], read: Callable[[int], bytes], location: str) -> None:
        self._file = file
        self._read = read
        self._location = location
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        try:
            content = self._read(len(view))
        except _DAMAGE as error:
            # The file under the decompressor tells its own trouble as a UserError, so this is none of the disk's.
            raise wrong(self._location, f"damaged or cut off ({error}); download or pack it again") from None
        self._bytes += len(content)
        if self._bytes > _FREE_BYTES + _MOST_TIMES * self._file.tell():
            raise wrong(
                self._location,
                f"inflates to more than {_MOST_TIMES} times its size, as no images do; unpack it yourself if you trust "
                "it, and name the folder",
            )
        view[: len(content)] = content
        return len(content)

    def tell(self) -> int:
        return self._bytes

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
