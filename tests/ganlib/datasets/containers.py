"""Archives of every kind, sound and hostile, for the tests of files and sources."""

import bz2
import gzip
import io
import lzma
import tarfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import fsspec

from ganlib.config import DataOptions
from ganlib.datasets.files import AnyFiles
from ganlib.datasets.items import FileEntry, Item, Refusal
from ganlib.datasets.sources.opening import open_source
from tests.ganlib.datasets.image_files import data_options, write_folder, write_zip

KINDS = ("folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "memory")


def tar_bytes(files: Mapping[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    return tar_of([(special_tar(name, size=len(content)), content) for name, content in files.items()], tar_format)


def special_tar(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def tar_of(members: Iterable[tuple[tarfile.TarInfo, bytes]], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zstandard(content: bytes) -> bytes:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": lambda content: bz2.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zst": zstandard,
}


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar, compressed as the name says."""
    content = tar_bytes(files)
    path.write_bytes(COMPRESSORS.get(path.suffix[1:], bytes)(content))
    return path


def read_files(files: AnyFiles) -> dict[str, bytes]:
    """All that `stream` gives."""
    return {found[0].name: found[1].read() for found in files.stream() if not isinstance(found, Refusal)}


def refusals(files: AnyFiles) -> list[tuple[str, str, str]]:
    return [(e.name, e.kind, e.detail) for e in files.entries() if isinstance(e, Refusal)]


def names(files: AnyFiles) -> list[str]:
    return [entry.name for entry in files.entries() if isinstance(entry, FileEntry)]


def items_of(options: DataOptions) -> list[Item]:
    return [item for item in all_of(options) if isinstance(item, Item)]


def refused(options: DataOptions) -> dict[str, tuple[str, str]]:
    return {item.name: (item.kind, item.detail) for item in all_of(options) if isinstance(item, Refusal)}


def all_of(options: DataOptions) -> list[Item | Refusal]:
    return [item for part in open_source(options).parts() for item in part.items()]


def bring(kind: str, place: Path, files: Mapping[str, bytes]) -> str:
    """The location of these files in a container of this kind."""
    match kind:
        case "folder":
            place.mkdir(exist_ok=True)
            return str(write_folder(place / "folder", files))
        case "zip":
            return str(write_zip(place / "a.zip", files))
        case "memory":
            url = f"memory://{uuid.uuid4().hex}"
            for name, content in files.items():
                fsspec.filesystem("memory").pipe_file(f"{url}/{name}", content)
            return url
    return str(write_tar(place / f"a.{kind}", files))


def meanings(source: Path | str, **changes: Any) -> dict[str, tuple[str, str | None, str | None]]:
    """Key, label and split of each image by name."""
    return {item.name: (item.key, item.label, item.split) for item in items_of(data_options(source, **changes))}
