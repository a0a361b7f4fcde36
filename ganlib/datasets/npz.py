"""Arrays that NumPy saved: an `.npz`, or `.npy` files.

Only headers are trusted to NumPy's reader, which evaluates a literal and
nothing else; nothing is unpickled.
"""

import math
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from ganlib.config import DataOptions
from ganlib.datasets.arrays import ArrayPair, StoredArray, array_parts, reachable
from ganlib.datasets.files.places import UNKNOWN_SIZE
from ganlib.datasets.items import FileEntry, Files, Part, SplitName
from ganlib.datasets.rows import (
    listed,
    read_exactly,
    refuse_label_file,
    refuse_sequential,
    split_of,
    trouble_told,
    wrong,
)

# (split, images, labels) by the customs of NumPy scripts, Keras, MedMNIST and of `np.savez(file, images)`.
_LAYOUTS: tuple[tuple[tuple[SplitName | None, str, str | None], ...], ...] = (
    ((None, "images", "labels"),),
    (("train", "x_train", "y_train"), ("test", "x_test", "y_test"), ("test", "x_val", "y_val")),
    (
        ("train", "train_images", "train_labels"),
        ("test", "test_images", "test_labels"),
        ("test", "val_images", "val_labels"),
    ),
    ((None, "arr_0", None),),
)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1


class NpzSource:
    """One `.npz` with `images` and `labels`, or `x_train`, `y_train`, …, or `train_images`, `train_labels`, …."""

    def __init__(self, files: Files, options: DataOptions) -> None:
        self._files = files
        self._options = options

    @property
    def description(self) -> str:
        """See `Source`."""
        return "arrays of an .npz file"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: the arrays expected are not there, do not fit together, or the file is damaged.
        """
        refuse_label_file(self._files, self._options, self.description)
        refuse_sequential(self._files, self.description)
        entry = _only(self._files, ".npz")
        with (
            trouble_told(self._files.location, entry.name),
            self._files.open(entry.name) as stream,
            zipfile.ZipFile(stream) as archive,
        ):
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            pairs = [
                ArrayPair(
                    split,
                    self._array(entry, stream, archive, members[images]),
                    None if labels is None else self._array(entry, stream, archive, members[labels]),
                )
                for split, images, labels in self._layout(entry, members)
            ]
        yield from array_parts(self._files, self._options, pairs)

    def _layout(self, entry: FileEntry, members: Iterable[str]) -> list[tuple[SplitName | None, str, str | None]]:
        names = set(members)
        fitting = [layout for layout in _LAYOUTS if any(images in names for _, images, _ in layout)]
        if len(fitting) != 1:
            raise wrong(
                self._files.location,
                f"{entry.name} has the arrays {', '.join(sorted(names)[:8]) or 'none'}",
                "expected images and labels, or x_train, y_train, x_test and y_test, or train_images, train_labels, "
                "test_images and test_labels, or arr_0",
            )
        labelled = self._options.labels != "none"
        return [
            (split, images, labels if labelled and labels in names else None)
            for split, images, labels in fitting[0]
            if images in names
        ]

    def _array(
        self, entry: FileEntry, stream: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo
    ) -> StoredArray:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename} is encrypted or compressed by method {info.compress_type}")
        with archive.open(info) as member:
            shape, dtype, header_bytes = _read_header(info.filename, member, info.file_size)
        offset = None
        if info.compress_type == zipfile.ZIP_STORED and reachable(entry, stream):
            stream.seek(info.header_offset)
            local = _LOCAL_HEADER.unpack(read_exactly(stream, _LOCAL_HEADER.size))
            offset = info.header_offset + _LOCAL_HEADER.size + local[-2] + local[-1] + header_bytes
        return StoredArray(
            name=f"{entry.name}/{info.filename.removesuffix('.npy')}",
            entry=entry,
            shape=shape,
            dtype=dtype,
            open=partial(_open_member, self._files, entry.name, info.filename, header_bytes),
            offset=offset,
        )


class NpySource:
    """An `.npy` file of images, or one for train and one for test; `x_labels.npy` has the labels of `x.npy`."""

    def __init__(self, files: Files, options: DataOptions) -> None:
        self._files = files
        self._options = options

    @property
    def description(self) -> str:
        """See `Source`."""
        return "arrays in .npy files"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: the arrays do not fit together, or a file is damaged.
        """
        refuse_label_file(self._files, self._options, self.description)
        refuse_sequential(self._files, self.description)
        entries = {entry.name: entry for entry in listed(self._files, lambda name: name.lower().endswith(".npy"))}
        images = [name for name in entries if not name.endswith("_labels.npy")]
        splits = [split_of(name) for name in images]
        if not images or len(set(splits)) < len(splits):
            raise wrong(
                self._files.location,
                f"found {len(images)} .npy files of images ({', '.join(images[:3]) or 'none'})",
                "expected one array [N, H, W] or [N, H, W, C], or train.npy and test.npy; labels are in x_labels.npy",
            )
        pairs = [
            ArrayPair(split, self._array(entries[name]), self._labels(name, entries))
            for split, name in zip(splits, images, strict=True)
        ]
        yield from array_parts(self._files, self._options, pairs)

    def _labels(self, images: str, entries: dict[str, FileEntry]) -> StoredArray | None:
        entry = entries.get(f"{images[: -len('.npy')]}_labels.npy")
        return None if entry is None or self._options.labels == "none" else self._array(entry)

    def _array(self, entry: FileEntry) -> StoredArray:
        with trouble_told(self._files.location, entry.name), self._files.open(entry.name) as stream:
            shape, dtype, header_bytes = _read_header(entry.name, stream, entry.size_bytes)
            direct = reachable(entry, stream)
        return StoredArray(
            name=entry.name,
            entry=entry,
            shape=shape,
            dtype=dtype,
            open=partial(_open_file, self._files, entry.name, header_bytes),
            offset=header_bytes if direct else None,
        )


def _only(files: Files, suffix: str) -> FileEntry:
    entries = listed(files, lambda name: name.lower().endswith(suffix))
    if len(entries) != 1:
        found = ", ".join(entry.name for entry in entries[:3]) or "none"
        raise wrong(files.location, f"found {len(entries)} {suffix} files ({found})", "expected one; point at it")
    return entries[0]


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
