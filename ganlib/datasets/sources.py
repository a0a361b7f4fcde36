"""The images of a folder or a zip, member by member, trusting neither."""

import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from ganlib.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
MAX_ZIP_MEMBERS = 5_000_000
_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_ZIP_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
# Read in pieces, so that what a member inflates to is known before it fills the memory.
_PIECE_BYTES = 1 << 20


class Unreadable(Exception):
    """One file cannot be used; the message is the reason given in the quarantine list."""


@dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """A file that is not used, under a printable name, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Member:
    """One image file: its path inside the source, its class (None: unlabelled) and its bytes.

    `read` raises Unreadable for a damaged or oversized file.
    """

    name: str
    label: str | None
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Source:
    """An open source: the names of its images; iterating yields one member at a time.

    `classes` are in natural order, so that `10` comes after `9`; empty when
    unlabelled. `rejected` are the files known to be unusable by name alone.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    _read: Callable[[str], bytes]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Member]:
        for name in self.names:
            label = name.partition("/")[0] if self.classes else None
            yield Member(name, label, partial(self._read, name))


@contextmanager
def open_source(location: str, *, max_file_bytes: int) -> Iterator[Source]:
    """Open a folder or zip of images: class folders, or flat and unlabelled.

    In class folders (`<class>/<anything>/x.png`) the label is the first part
    of the path. Dotfiles and what operating systems leave behind are skipped.

    Args:
        location: path of the folder or zip.
        max_file_bytes: what one file may hold once unpacked, whatever its archive declares.

    Raises:
        UserError: the source is missing, cannot be read, is neither folder nor
            zip, holds no images, or holds them both at the top and in folders.
    """
    shown = printable(location)
    with ExitStack() as stack:
        with _trouble_told(shown):
            source = _survey(shown, _container(Path(location), stack, shown), max_file_bytes)
        yield source


def is_labelled(location: str) -> bool:
    """Whether the first image that is met lies in a class folder; looks no further, so it takes no time.

    Where `open_source` takes the source, all its images are as the first.

    Raises:
        UserError: the source is missing, cannot be read, is neither folder nor zip, or holds no images.
    """
    shown = printable(location)
    with ExitStack() as stack, _trouble_told(shown):
        for name, reason in _judged(_container(Path(location), stack, shown)):
            if reason is None:
                return "/" in name
    raise UserError(f"data.source={shown}: found no usable image; expected image files such as .png or .jpg")


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts numbers inside names by value; the name itself breaks ties such as `1` and `01`."""
    parts = re.split(r"0*([0-9]+)", name)
    return [(0, len(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part], name


def printable(text: str) -> str:
    """One line that a terminal can show: whatever is not printable is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class _Container(Protocol):
    """What a kind of source has to offer."""

    def entries(self) -> Iterator[tuple[str, str | None]]:
        """Names of all files, and for each why it must not be opened (None: it may)."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file by a name from `entries`."""
        ...


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._inside = root.resolve()

    def entries(self) -> Iterator[tuple[str, str | None]]:
        pending = [""]
        while pending:
            prefix = pending.pop()
            with os.scandir(self._root / prefix) as found:
                for entry in found:
                    if _is_junk(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{prefix}{entry.name}/")
                    else:
                        yield f"{prefix}{entry.name}", self._refusal(entry)

    def _refusal(self, entry: os.DirEntry[str]) -> str | None:
        if not entry.is_symlink():
            return None if entry.is_file(follow_symlinks=False) else "not a regular file"
        # Unlike Path.resolve, this returns for a link to itself, in every version of Python.
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(self._inside):
            return "a link that leads outside the folder"
        return None if target.is_file() else "a link to something that is no file"

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        count = len(archive.infolist())
        if count > MAX_ZIP_MEMBERS:
            raise zipfile.BadZipFile(f"{count} members, more than {MAX_ZIP_MEMBERS}")

    def entries(self) -> Iterator[tuple[str, str | None]]:
        for info in self._archive.infolist():
            if info.is_dir():
                continue
            name = PurePosixPath(info.filename).as_posix()
            if name in self._members:
                yield name, "a second member of this name"
                continue
            self._members[name] = info
            yield name, self._refusal(info)

    def _refusal(self, info: zipfile.ZipInfo) -> str | None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            return "a link" if kind == stat.S_IFLNK else "not a regular file"
        if info.flag_bits & _ENCRYPTED:
            return "encrypted"
        if info.compress_type not in _ZIP_METHODS:
            return f"compression method {info.compress_type}, expected store or deflate"
        return None if info.header_offset < self._archive.start_dir else "damaged in the archive"

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._members[name])


def _container(path: Path, stack: ExitStack, shown: str) -> _Container:
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        return _Folder(path)
    if stat.S_ISREG(kind):
        return _Zip(stack.enter_context(zipfile.ZipFile(path)))
    raise UserError(f"data.source={shown}: neither a folder nor a regular file; expected one of them")


@contextmanager
def _trouble_told(shown: str) -> Iterator[None]:
    """Whatever goes wrong when a source is opened, as one line."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"data.source={shown}: no such folder or file; expected a folder or a .zip of images") from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise UserError(
            f"data.source={shown}: not a zip, or a damaged one ({printable(str(error))}); "
            "expected a folder or a .zip of images"
        ) from None
    except OSError as error:
        raise UserError(_cannot_read(shown, error)) from None


def _survey(location: str, container: _Container, max_file_bytes: int) -> Source:
    names: list[str] = []
    rejected: list[Rejected] = []
    for name, reason in _judged(container):
        if reason is None:
            names.append(name)
        else:
            rejected.append(Rejected(printable(name), reason))
    if not names:
        found = f"{len(rejected)} files, none of them a usable image" if rejected else "nothing"
        first = f" (first: {rejected[0].name}: {rejected[0].reason})" if rejected else ""
        raise UserError(f"data.source={location}: found {found}{first}; expected image files such as .png or .jpg")
    at_top = next((name for name in names if "/" not in name), None)
    in_folder = next((name for name in names if "/" in name), None)
    if at_top is not None and in_folder is not None:
        raise UserError(
            f"data.source={location}: found images both at the top ({printable(at_top)}) and in folders "
            f"({printable(in_folder)}); expected class folders only, or all at the top for unlabelled images"
        )
    classes = {name.partition("/")[0] for name in names} if in_folder is not None else set()
    return Source(
        names=tuple(names),
        classes=tuple(sorted(classes, key=natural_key)),
        rejected=tuple(rejected),
        _read=partial(_read_limited, location, container, max_file_bytes),
    )


def _judged(container: _Container) -> Iterator[tuple[str, str | None]]:
    """Names of all files but junk, and for each why it is unusable (None: it is not)."""
    for name, refusal in container.entries():
        reason = _unsafe(name)
        if reason is None and any(_is_junk(part) for part in name.split("/")):
            continue
        reason = reason or refusal
        if reason is None and PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
            reason = "no image by its name"
        yield name, reason


def _is_junk(part: str) -> bool:
    return part.startswith(".") or part in _JUNK


def _unsafe(name: str) -> str | None:
    """Why this path inside a source is refused, whoever it comes from."""
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name):
        return "an absolute path"
    if ".." in parts:
        return "a path that leads outside"
    if "\\" in name:
        return "a backslash in its path; expected /"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "a control character or invalid UTF-8 in its name"
    return None


def _read_limited(location: str, container: _Container, max_file_bytes: int, name: str) -> bytes:
    content = bytearray()
    try:
        with container.open(name) as file:
            while piece := file.read(_PIECE_BYTES):
                content += piece
                if len(content) > max_file_bytes:
                    raise Unreadable(f"more than {max_file_bytes} bytes")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise Unreadable(printable(f"damaged in the archive: {error}")) from None
    except OSError as error:
        # Surroundings, not data: a quarantine row would make the result depend on the day.
        raise UserError(_cannot_read(f"{location}/{name}", error)) from None
    return bytes(content)


def _cannot_read(location: str, error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    return printable(
        f"data.source={location}: cannot be read ({error.strerror or error}{where}); check that it exists, its "
        "permissions and the disk"
    )
