"""Where a source is: a path of this machine, or a URL of any file system that fsspec knows."""

import io
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ganlib.datasets.items import printable
from ganlib.errors import UserError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

UNKNOWN_SIZE = -1
# What drivers call that which changes with the content, the surest first.
_STAMPS = (
    *("ETag", "etag", "e_tag", "md5Hash", "content_md5", "Content-MD5", "crc32c", "checksum", "ino"),
    *("LastModified", "Last-Modified", "last_modified", "mtime", "modified", "updated", "created"),
)
_EXTRAS = {"s3": "ganlib[s3]", "s3a": "ganlib[s3]"}
_BUFFER_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or file that exists: its size (-1: the server does not say) and a stamp that changes with it."""

    is_folder: bool
    size_bytes: int
    stamp: str


def wrong(location: str, mistake: str, expected: str = "") -> UserError:
    """A mistake in `data.source`, as one line; what was expected may be part of the mistake."""
    return UserError(printable(f"data.source={location}: {mistake}{expected and '; '}{expected}"))


def too_many(location: str, most: int) -> UserError:
    """The source has more files than `data.limits.max_files`."""
    return wrong(location, f"more than data.limits.max_files={most} files; raise it or split the source")


def is_url(location: str) -> bool:
    """Whether a driver reads it; `file://` is but another way to write a path."""
    return "://" in location and not location.startswith("file://")


def local_path(location: str) -> Path:
    """The path that a location which is no URL names."""
    return Path(location.removeprefix("file://"))


def find(location: str) -> Place:
    """Look at a place without opening it.

    Raises:
        UserError: it is not there, cannot be read, or is neither a folder nor a regular file.
    """
    with trouble_told(location):
        if not is_url(location):
            return _found(location, local_path(location).stat())
        system, path = remote(location)
        if location.endswith("/"):
            return Place(True, UNKNOWN_SIZE, "")
        info = system.info(path)
        return Place(info["type"] == "directory", size_of(info), stamp_of(info))


def open_place(location: str) -> IO[bytes]:
    """Open a file for reading; trouble while reading is a UserError, too.

    Raises:
        UserError: it cannot be opened.
    """
    with trouble_told(location):
        if not is_url(location):
            return told(local_path(location).open("rb", buffering=0), location)
        system, path = remote(location)
        return told(system.open(path, "rb"), location)


def open_unchanged(location: str, stamp: str) -> IO[bytes]:
    """Open a file that is still as it was when it got this stamp.

    Raises:
        UserError: it is another by now, or cannot be opened.
    """
    if find(location).stamp != stamp:
        raise wrong(location, "changed while it was read; run again")
    return open_place(location)


def told(file: IO[bytes], location: str) -> IO[bytes]:
    """An open file of which trouble while reading is a UserError."""
    return io.BufferedReader(_Told(file, location), _BUFFER_BYTES)


def check_driver(location: str) -> None:
    """See that the file system of a URL is known and installed; nothing is asked of it.

    Raises:
        UserError: it is not.
    """
    with trouble_told(location):
        remote(location)


def remote(location: str) -> tuple[Any, str]:
    """The file system of a URL, one a process, and the path there. Raises whatever a driver does."""
    from fsspec.core import url_to_fs

    protocol = location.partition("://")[0]
    try:
        # A cache of listings would hold a million names, and what was there an hour ago.
        system, path = url_to_fs(location, use_listings_cache=False)
    except ImportError as error:
        advice = f"pip install '{_EXTRAS[protocol]}'" if protocol in _EXTRAS else str(error)
        raise wrong(location, f"the driver of {protocol}:// is not installed; {advice}") from None
    except ValueError as error:
        raise wrong(location, f"{error}; expected a path, or a URL such as s3://bucket/folder") from None
    return system, path


def size_of(info: Mapping[str, Any]) -> int:
    """The size in a driver's description of a file."""
    size = info.get("size")
    return size if isinstance(size, int) else UNKNOWN_SIZE


def stamp_of(info: Mapping[str, Any]) -> str:
    """The stamp in a driver's description of a file; another each time where there is nothing to go by."""
    for field in _STAMPS:
        if info.get(field):
            return f"{info[field]}-{info.get('size')}"
    return secrets.token_hex(8)


def local_stamp(status: os.stat_result) -> str:
    """Changes when a file is written or another takes its place."""
    return f"{status.st_mtime_ns}-{status.st_ino}-{status.st_size}"


@contextmanager
def trouble_told(location: str, file: str = "") -> Iterator[None]:
    """Whatever goes wrong with a place, or with a file in it, as one line."""
    shown = f"{location.rstrip('/')}/{file}" if file else location
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        if file:
            raise wrong(shown, "cannot be read (it is gone); check the source and run again") from None
        # Web servers that do not answer are told so, too.
        reason = f" ({error.__cause__})" if error.__cause__ else ""
        raise wrong(shown, f"no such folder or file{reason}; expected a folder or archive of images") from None
    except OSError as error:
        where = f" at {error.filename}" if error.filename and not is_url(location) else ""
        reason = f"{error.strerror or error}{where}"
        raise wrong(shown, f"cannot be read ({reason}); check that it exists, its permissions and the disk") from None
    except Exception as error:
        # Drivers have exceptions of their own, unknown here: of botocore, aiohttp, google.auth...
        if not is_url(location) and not isinstance(error, ValueError):
            raise
        raise wrong(
            shown,
            f"cannot be read ({type(error).__name__}: {error}); check the address, the credentials and the network",
        ) from error


class _Told(io.RawIOBase):
    """An open file whose trouble is told as a UserError."""

    def __init__(self, file: IO[bytes], location: str) -> None:
        self._file = file
        self._location = location

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        with trouble_told(self._location):
            content = self._file.read(len(view))
        view[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with trouble_told(self._location):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        with trouble_told(self._location):
            return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _found(location: str, status: os.stat_result) -> Place:
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise wrong(location, "neither a folder nor a regular file; expected one of them")
    return Place(stat.S_ISDIR(status.st_mode), status.st_size, local_stamp(status))
