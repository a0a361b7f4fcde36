"""Arrays that NumPy saved: an `.npz`, or `.npy` files.

Only headers are trusted to NumPy's reader, which evaluates a literal and
nothing else; nothing is unpickled.
"""

import math
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from ganlib.config import DataOptions
from ganlib.datasets.files.places import UNKNOWN_SIZE, wrong
from ganlib.datasets.items import FileEntry, Files, Part
from ganlib.datasets.sources.arrays import ArrayPair, StoredArray, array_parts, reachable
from ganlib.datasets.sources.rows import (
    damage_told,
    listed,
    read_exactly,
    refuse_label_file,
    refuse_sequential,
)
from ganlib.datasets.sources.splits import Role, role_of_file
from ganlib.events import EventSink, ignore

# (role, images, labels) by the customs of NumPy scripts, Keras, MedMNIST and of `np.savez(file, images)`.
_LAYOUTS: tuple[tuple[tuple[Role | None, str, str | None], ...], ...] = (
    ((None, "images", "labels"),),
    (("train", "x_train", "y_train"), ("test", "x_test", "y_test"), ("validation", "x_val", "y_val")),
    (
        ("train", "train_images", "train_labels"),
        ("test", "test_images", "test_labels"),
        ("validation", "val_images", "val_labels"),
    ),
    ((None, "arr_0", None),),
)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1


class NpzSource:
    """Arrays that NumPy saved.

    One `.npz` with `images` and `labels`, or `x_train`, `y_train`, …, or
    `train_images`, `train_labels`, …. Or `.npy` files: images in one, or in one
    for train and one for test, and the labels of `x.npy` in `x_labels.npy`.
    """

    def __init__(self, files: Files, options: DataOptions, on_event: EventSink = ignore) -> None:
        self._files = files
        self._options = options
        self._on_event = on_event

    @property
    def description(self) -> str:
        """See `Source`."""
        return "NumPy arrays"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: the arrays expected are not there, do not fit together, or a file is damaged.
        """
        files, options = self._files, self._options
        refuse_label_file(files, options, self.description)
        refuse_sequential(files, self.description)
        archives, arrays = (_with_suffix(files, suffix) for suffix in (".npz", ".npy"))
        if len(archives) + bool(arrays) != 1:
            names = ", ".join([*archives, *arrays][:3]) or "none"
            raise wrong(
                files.location,
                f"found {len(archives)} .npz and {len(arrays)} .npy files ({names})",
                "expected one .npz, or .npy files of one data set",
            )
        pairs = (
            _NpzReader(files, options, *archives.values()).pairs() if archives else _npy_pairs(files, options, arrays)
        )
        yield from array_parts(files, options, pairs, self._on_event)


@dataclass(frozen=True, slots=True)
class _NpzReader:
    """The arrays of one `.npz`."""

    files: Files
    options: DataOptions
    entry: FileEntry

    def pairs(self) -> list[ArrayPair]:
        """The arrays that are used, their headers read."""
        with (
            damage_told(self.files.location, self.entry.name),
            self.files.open(self.entry.name) as stream,
            zipfile.ZipFile(stream) as archive,
        ):
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return [
                ArrayPair(
                    role,
                    self._array(stream, archive, members[images]),
                    None if labels is None else self._array(stream, archive, members[labels]),
                )
                for role, images, labels in self._layout(members)
            ]

    def _layout(self, members: Iterable[str]) -> list[tuple[Role | None, str, str | None]]:
        names = set(members)
        fitting = [layout for layout in _LAYOUTS if any(images in names for _, images, _ in layout)]
        if len(fitting) != 1:
            raise wrong(
                self.files.location,
                f"{self.entry.name} has the arrays {', '.join(sorted(names)[:8]) or 'none'}",
                "expected images and labels, or x_train, y_train, x_test and y_test, or train_images, train_labels, "
                "test_images and test_labels, or arr_0",
            )
        labelled = self.options.labels != "none"
        return [
            (role, images, labels if labelled and labels in names else None)
            for role, images, labels in fitting[0]
            if images in names
        ]

    def _array(self, stream: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> StoredArray:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename} is encrypted or compressed by method {info.compress_type}")
        with archive.open(info) as member:
            shape, dtype, header_bytes = _read_header(info.filename, member, info.file_size)
        offset = None
        if info.compress_type == zipfile.ZIP_STORED and reachable(self.entry, stream):
            stream.seek(info.header_offset)
            local = _LOCAL_HEADER.unpack(read_exactly(stream, _LOCAL_HEADER.size))
            offset = info.header_offset + _LOCAL_HEADER.size + local[-2] + local[-1] + header_bytes
        return StoredArray(
            name=f"{self.entry.name}/{info.filename.removesuffix('.npy')}",
            entry=self.entry,
            shape=shape,
            dtype=dtype,
            open=partial(_open_member, self.files, self.entry.name, info.filename, header_bytes),
            offset=offset,
        )


def _npy_pairs(files: Files, options: DataOptions, entries: dict[str, FileEntry]) -> list[ArrayPair]:
    images = [name for name in entries if not name.endswith("_labels.npy")]
    roles = [role_of_file(name) for name in images]
    if not images or len(set(roles)) < len(roles):
        raise wrong(
            files.location,
            f"found {len(images)} .npy files of images ({', '.join(images[:3]) or 'none'})",
            "expected one array [N, H, W] or [N, H, W, C], or train.npy and test.npy; labels are in x_labels.npy",
        )
    pairs = []
    for role, name in zip(roles, images, strict=True):
        labels = entries.get(f"{name[: -len('.npy')]}_labels.npy") if options.labels != "none" else None
        pairs.append(
            ArrayPair(role, _npy_array(files, entries[name]), None if labels is None else _npy_array(files, labels))
        )
    return pairs


def _npy_array(files: Files, entry: FileEntry) -> StoredArray:
    with damage_told(files.location, entry.name), files.open(entry.name) as stream:
        shape, dtype, header_bytes = _read_header(entry.name, stream, entry.size_bytes)
        direct = reachable(entry, stream)
    return StoredArray(
        name=entry.name,
        entry=entry,
        shape=shape,
        dtype=dtype,
        open=partial(_open_file, files, entry.name, header_bytes),
        offset=header_bytes if direct else None,
    )


def _with_suffix(files: Files, suffix: str) -> dict[str, FileEntry]:
    return {entry.name: entry for entry in listed(files, lambda name: name.lower().endswith(suffix))}


def _read_header(name: str, stream: IO[bytes], size_bytes: int) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and length of the header of an `.npy` file.

    Raises:
        ValueError: it is none, lies about its size, is in column order, or holds Python objects.
    """
    version = np.lib.format.read_magic(stream)
    try:
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise ValueError(f"{name} is in version {version[0]}.{version[1]} of the .npy format, expected 1.0 or 2.0")
    except (SyntaxError, TokenError, TypeError, MemoryError, RecursionError):
        # What Python's parser and NumPy's types make of a damaged literal.
        raise ValueError(f"{name} has no readable .npy header") from None
    header_bytes = stream.tell()
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None:
        raise ValueError(f"{name} has the type {dtype}, expected plain numbers or texts")
    if fortran and len(shape) > 1:
        raise ValueError(f"{name} is in column order, save it after np.ascontiguousarray")
    expected_bytes = header_bytes + math.prod(shape) * dtype.itemsize
    if not shape or min(shape) < 0 or size_bytes not in (UNKNOWN_SIZE, expected_bytes):
        raise ValueError(f"{name} has {size_bytes} bytes where its header of {list(shape)} asks for {expected_bytes}")
    return shape, dtype, header_bytes


@contextmanager
def _open_file(files: Files, name: str, skipped_bytes: int) -> Iterator[IO[bytes]]:
    with files.open(name) as stream:
        read_exactly(stream, skipped_bytes)
        yield stream


@contextmanager
def _open_member(files: Files, name: str, member: str, skipped_bytes: int) -> Iterator[IO[bytes]]:
    with files.open(name) as stream, zipfile.ZipFile(stream) as archive, archive.open(member) as values:
        read_exactly(values, skipped_bytes)
        yield values
