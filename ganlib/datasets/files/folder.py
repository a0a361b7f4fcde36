"""The files of a folder, of this machine or behind a URL, and a file by itself."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ganlib.datasets.files.formats import HEAD_BYTES
from ganlib.datasets.files.links import OUTSIDE, LinkEntry, followed, is_content, may_open
from ganlib.datasets.files.names import is_junk, refuse_unsafe, unsafe
from ganlib.datasets.files.places import (
    find,
    local_path,
    local_stamp,
    open_place,
    remote,
    size_of,
    stamp_of,
    told,
    too_many,
    trouble_told,
    wrong,
)
from ganlib.datasets.files.reading import read_each, read_heads, stream_each, too_large
from ganlib.datasets.items import FileEntry, Refusal, printable

# Fetched at once from a URL, as each answer takes a while to come.
_BATCH_FILES = 32
_BATCH_BYTES = 64 << 20
# Ends the name of what is no regular file: no name can hold it.
_SPECIAL = "\0"


@dataclass(frozen=True)
class Folder:
    """A folder of this machine; which links are followed is said in `links`."""

    location: str
    max_files: int
    sequential: bool = False

    @property
    def description(self) -> str:
        """What it is, for people."""
        return "folder"

    def entries(self) -> Iterator[FileEntry | Refusal]:
        """All files but junk, those of a folder before those of its folders, each sorted by name."""
        root = local_path(self.location)
        inside = Path(os.path.realpath(root))
        for name, regular in self._found(root):
            yield self._entry(name, regular, root, inside)

    def names(self) -> Iterator[str]:
        """The names of those that are used; quicker, as the files themselves are not asked."""
        root = local_path(self.location)
        inside = Path(os.path.realpath(root))
        for name, regular in self._found(root):
            if (regular and unsafe(name) is None) or isinstance(self._entry(name, regular, root, inside), FileEntry):
                yield name

    def folders(self, inside: str) -> list[str]:
        """The names of the folders straight inside one of them (`''` or `folder/`), empty ones too, but no junk."""
        found = self._listed(local_path(self.location) / inside)
        return [name[:-1] for name in found if name.endswith("/") and not is_junk(name[:-1])]

    def open(self, name: str) -> IO[bytes]:
        """Open a file; raises FileNotFoundError where it is not there, and UserError for a link that leads outside."""
        root = local_path(self.location)
        path = f"{root}/{name}"
        if not may_open(path, Path(os.path.realpath(root))):
            raise wrong(f"{self.location.rstrip('/')}/{name}", OUTSIDE)
        return open(path, "rb")  # noqa: PTH123 - once an image: a Path takes as long

    def stream(self) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
        """All files with their content."""
        return stream_each(self)

    def contents(self, entries: Sequence[FileEntry], limit_bytes: int) -> Iterator[bytes | Refusal]:
        """The content of each file in turn, or why it is not used."""
        found = read_each(self.location, self._opener(), entries, limit_bytes)
        for entry, content in zip(entries, found, strict=True):
            if isinstance(entry, LinkEntry) and isinstance(content, bytes) and not is_content(content, entry.digest):
                yield Refusal(printable(entry.name), "unsafe_name", OUTSIDE)
            else:
                yield content

    def heads(self, entries: Sequence[FileEntry]) -> Iterator[bytes]:
        """The first bytes of each file in turn."""
        return read_heads(self.location, self._opener(), entries)

    def _opener(self) -> Callable[[FileEntry], IO[bytes]]:
        root = local_path(self.location)
        # Once an image: a Path would take as long as the rest.
        return lambda entry: open(f"{root}/{entry.name}", "rb")  # noqa: PTH123

    def _found(self, root: Path) -> Iterator[tuple[str, bool]]:
        """Names of all files but junk, and whether they are regular files for certain."""
        count = 0
        pending = [""]
        while pending:
            prefix = pending.pop()
            folders: list[str] = []
            for name in self._listed(root / prefix):
                count += 1
                if count > self.max_files:
                    raise too_many(self.location, self.max_files)
                if is_junk(name.rstrip("/\0")):
                    continue
                if name.endswith("/"):
                    folders.append(f"{prefix}{name}")
                else:
                    yield f"{prefix}{name.removesuffix(_SPECIAL)}", not name.endswith(_SPECIAL)
            pending.extend(reversed(folders))

    def _listed(self, folder: Path) -> list[str]:
        """Names, with a mark for folders and what is no regular file: all that is kept of very many files."""

        def marked(entry: os.DirEntry[str]) -> str:
            if entry.is_dir(follow_symlinks=False):
                return f"{entry.name}/"
            return entry.name if entry.is_file(follow_symlinks=False) else f"{entry.name}{_SPECIAL}"

        with trouble_told(self.location), os.scandir(folder) as found:
            return sorted(map(marked, found))

    def _entry(self, name: str, regular: bool, root: Path, inside: Path) -> FileEntry | Refusal:
        with trouble_told(self.location, printable(name)):
            refusal = refuse_unsafe(name)
            if refusal is not None:
                return refusal
            path = f"{root}/{name}"
            if not regular:
                return followed(path, name, inside)
            status = os.lstat(path)
            return FileEntry(name, status.st_size, local_stamp(status))


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind a URL, by the drivers of fsspec."""

    location: str
    max_files: int
    sequential: bool = False

    @property
    def description(self) -> str:
        """What it is, for people."""
        return "folder"

    def entries(self) -> Iterator[FileEntry | Refusal]:
        """All files but junk, those of a folder before those of its folders, each sorted by name."""
        with trouble_told(self.location):
            system, root = remote(self.location)
        root = root.rstrip("/")
        count = 0
        pending = [root]
        while pending:
            folder = pending.pop()
            folders: list[str] = []
            for path, info in self._listed(system, folder):
                count += 1
                if count > self.max_files:
                    raise too_many(self.location, self.max_files)
                name = path[len(root) + 1 :]
                refusal = _nameless(name) if path.endswith("/") else refuse_unsafe(name)
                if refusal is not None:
                    yield refusal
                elif is_junk(name):
                    continue
                elif info["type"] == "directory":
                    folders.append(path)
                else:
                    yield FileEntry(name, size_of(info), stamp_of(info))
            pending.extend(reversed(folders))

    def open(self, name: str) -> IO[bytes]:
        """Open a file; raises FileNotFoundError where it is not there."""
        with trouble_told(self.location, name):
            system, root = remote(self.location)
            try:
                file = system.open(self._path(root, name), "rb")
            except FileNotFoundError:
                file = None
        if file is None:
            raise FileNotFoundError(name)
        return told(file, f"{self.location.rstrip('/')}/{name}")

    def stream(self) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
        """All files with their content."""
        return stream_each(self)

    def contents(self, entries: Sequence[FileEntry], limit_bytes: int) -> Iterator[bytes | Refusal]:
        """The content of each file in turn, or why it is not used; some are fetched at once."""
        for batch in _batches(entries, limit_bytes):
            if len(batch) == 1 and batch[0].size_bytes < 0:
                yield from read_each(self.location, lambda entry: self.open(entry.name), batch, limit_bytes)
            elif len(batch) == 1 and batch[0].size_bytes > limit_bytes:
                yield too_large(batch[0], limit_bytes)
            else:
                yield from self._fetched(batch)

    def heads(self, entries: Sequence[FileEntry]) -> Iterator[bytes]:
        """The first bytes of each file in turn; some are fetched at once."""
        for at in range(0, len(entries), _BATCH_FILES):
            batch = entries[at : at + _BATCH_FILES]
            sizes = [HEAD_BYTES if entry.size_bytes < 0 else min(entry.size_bytes, HEAD_BYTES) for entry in batch]
            yield from (head[:HEAD_BYTES] for head in self._ranges(batch, sizes))

    def _fetched(self, batch: Sequence[FileEntry]) -> Iterator[bytes]:
        for entry, content in zip(batch, self._ranges(batch, [entry.size_bytes for entry in batch]), strict=True):
            if len(content) != entry.size_bytes:
                raise wrong(self.location, f"{entry.name} changed while it was read; run again")
            yield content

    def _ranges(self, entries: Sequence[FileEntry], sizes: Sequence[int]) -> list[bytes]:
        """So many bytes of the beginning of each file, so that one that has grown since cannot fill the memory."""
        asked = [(entry.name, size) for entry, size in zip(entries, sizes, strict=True) if size]
        with trouble_told(self.location):
            system, root = remote(self.location)
            paths = [self._path(root, name) for name, _ in asked]
            found = system.cat_ranges(paths, [0] * len(asked), [size for _, size in asked], on_error="return")
        contents = {}
        for (name, _), content in zip(asked, found, strict=True):
            with trouble_told(self.location, name):
                if isinstance(content, Exception):
                    raise content
            contents[name] = bytes(content)
        return [contents.get(entry.name, b"") for entry in entries]

    def _listed(self, system: Any, folder: str) -> list[tuple[str, dict[str, Any]]]:
        """Paths and descriptions of what lies in a folder; markers of the folder itself are left out."""
        is_web = self.location.startswith(("http://", "https://"))
        below = []
        with trouble_told(self.location):
            for info in system.ls(folder, detail=True):
                path = str(info["name"]).rstrip("/")
                if path == folder and info["type"] == "directory" and not is_web:
                    # Buckets can hold `folder//image.png`, which drivers list as the folder in itself.
                    below.append((f"{path}//", info))
                # A question mark: the links by which a web server's listing is sorted.
                elif path != folder and "/?" not in path:
                    below.append((path, info))
        return sorted(below, key=lambda pair: pair[0])

    @staticmethod
    def _path(root: str, name: str) -> str:
        return f"{root.rstrip('/')}/{name}"


@dataclass(frozen=True)
class SingleFile:
    """One file, of this machine or behind a URL."""

    location: str
    sequential: bool = False

    @property
    def description(self) -> str:
        """What it is, for people."""
        return "file"

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.location.rstrip("/").rpartition("/")[2]

    def entries(self) -> Iterator[FileEntry | Refusal]:
        """The file."""
        place = find(self.location)
        yield FileEntry(self.name, place.size_bytes, place.stamp)

    def open(self, name: str) -> IO[bytes]:
        """Open the file; raises FileNotFoundError for any other."""
        if name != self.name:
            raise FileNotFoundError(name)
        return open_place(self.location)

    def stream(self) -> Iterator[tuple[FileEntry, IO[bytes]] | Refusal]:
        """The file with its content."""
        return stream_each(self)


def _nameless(name: str) -> Refusal:
    return Refusal(printable(name), "unsafe_name", "a folder without a name; what is in it is not read")


def _batches(entries: Sequence[FileEntry], limit_bytes: int) -> Iterator[list[FileEntry]]:
    """Runs to be fetched at once; files of unknown or excessive size are alone."""
    batch: list[FileEntry] = []
    size_bytes = 0
    for entry in entries:
        alone = not 0 <= entry.size_bytes <= limit_bytes
        if batch and (alone or len(batch) == _BATCH_FILES or size_bytes + entry.size_bytes > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        if alone:
            yield [entry]
            continue
        batch.append(entry)
        size_bytes += entry.size_bytes
    if batch:
        yield batch
