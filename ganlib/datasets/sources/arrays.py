"""Arrays of images and of labels in files, as their headers declare them, cut into parts."""

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import astuple, dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions
from ganlib.datasets.files.places import UNKNOWN_SIZE, wrong
from ganlib.datasets.items import FileEntry, Files, Item, Part
from ganlib.datasets.sources.rows import (
    Numbering,
    Numbers,
    class_name,
    damage_told,
    digest,
    facts,
    inline_parts,
    part_rows,
    pixel_items,
    read_exactly,
)
from ganlib.datasets.sources.splits import Role
from ganlib.events import EventSink, ignore

CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array in C order.

    `name` is for people; `open` gives the bytes from the first element on and
    to its last; `offset` is where they start in the file `entry` when any of
    its rows can be reached at once, None when they can only be read in order.
    """

    name: str
    entry: FileEntry
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    offset: int | None


@dataclass(frozen=True, slots=True, eq=False)
class ArrayPair:
    """Images, and a label for each unless they have none."""

    role: Role | None
    images: StoredArray
    labels: StoredArray | None


@dataclass(frozen=True, slots=True)
class RowShape:
    """How the bytes of one image lie: [H, W], [H, W, C] or, `planar`, [C, H, W]."""

    sizes: tuple[int, ...]
    planar: bool

    @property
    def size_bytes(self) -> int:
        """Of one image."""
        return math.prod(self.sizes)

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        """Uint8 [N, H, W] or [N, H, W, C]."""
        rows = np.frombuffer(content, np.uint8).reshape(-1, *self.sizes)
        return rows.transpose(0, 2, 3, 1) if self.planar else rows


@dataclass(frozen=True, slots=True, eq=False)
class SpanPart:
    """Consecutive images of an array that lie at an offset of its file."""

    files: Files
    entries: tuple[FileEntry, ...]
    name: str
    offset: int
    first_row: int
    count: int
    row: RowShape
    numbers: Numbers
    labels: tuple[str, ...] | None

    @property
    def identity(self) -> str:
        """See `Part`."""
        where = (self.name, self.offset, self.first_row, self.count)
        return digest("span", facts(self.entries), where, astuple(self.row), astuple(self.numbers), self.labels)

    def items(self) -> Iterator[Item]:
        """See `Part`."""
        file = self.entries[0].name
        size = self.row.size_bytes
        with damage_told(self.files.location, file), self.files.open(file) as stream:
            stream.seek(self.offset + self.first_row * size)
            content = read_exactly(stream, self.count * size)
        yield from pixel_items(self.row.pixels(content), self.name, self.first_row, self.numbers, self.labels)


def array_parts(
    files: Files, options: DataOptions, pairs: Sequence[ArrayPair], on_event: EventSink = ignore
) -> Iterator[Part]:
    """All images of some arrays that are used, after everything that headers tell was checked.

    Raises:
        UserError: shapes, types or counts are wrong, or a file is damaged.
    """
    numbering = Numbering(files.location, (pair.role for pair in pairs), options, on_event)
    pairs = [pair for pair in pairs if numbering.uses(pair.role)]
    rows = [_checked(files.location, pair, options) for pair in pairs]
    without = next((pair.images.name for pair in pairs if pair.labels is None), None)
    if without is not None and any(pair.labels is not None for pair in pairs):
        raise wrong(
            files.location,
            f"{without} has no labels but others have",
            "expected labels for all, or set data.labels=none",
        )
    # Counted before any is read, so that too many are refused at once.
    numbers = [numbering.take(pair.role, pair.images.shape[0]) for pair in pairs]
    for pair, row, first in zip(pairs, rows, numbers, strict=True):
        if pair.images.offset is None:
            entries = [array.entry for array in (pair.images, pair.labels) if array is not None]
            yield from inline_parts(_inline_items(files.location, pair, row, first), entries)
        else:
            yield from _span_parts(files, pair, row, first, pair.images.offset)


def reachable(entry: FileEntry, stream: IO[bytes]) -> bool:
    """Whether seeking costs nothing; a member of a zip can seek, but reads all that is between."""
    return entry.size_bytes != UNKNOWN_SIZE and stream.seekable() and not isinstance(stream, zipfile.ZipExtFile)


def row_shape(location: str, name: str, shape: Sequence[int]) -> RowShape:
    """How the images of an array lie, from its shape.

    Raises:
        UserError: it is none of [N, H, W], [N, H, W, C] and [N, C, H, W] with C being 1, 3 or 4, or could be two.
    """
    expected = "expected [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels"
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise wrong(location, f"{name} has the shape {list(shape)}", expected)
    if len(shape) == 3:
        return RowShape(tuple(shape[1:]), planar=False)
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        found = "could have its channels first or last" if first else "has no dimension for channels"
        raise wrong(location, f"{name} of shape {list(shape)} {found}", expected)
    return RowShape(tuple(shape[1:]), planar=first)


def _checked(location: str, pair: ArrayPair, options: DataOptions) -> RowShape:
    images, labels = pair.images, pair.labels
    if images.dtype != np.uint8:
        raise wrong(
            location,
            f"{images.name} has the type {images.dtype}, whose range nobody knows",
            "expected uint8 from 0 to 255; convert it, where it is in [0, 1] by (x * 255).round().astype('uint8')",
        )
    row = row_shape(location, images.name, images.shape)
    height, width = row.sizes[1:] if row.planar else row.sizes[:2]
    if height * width > options.limits.max_pixels:
        raise wrong(
            location,
            f"{images.name} has images of {width} x {height} pixels",
            f"expected at most data.limits.max_pixels={options.limits.max_pixels}, raise it",
        )
    if labels is not None:
        _check_labels(location, images, labels)
    return row


def _check_labels(location: str, images: StoredArray, labels: StoredArray) -> None:
    if labels.dtype.kind not in "iufSU" or not 0 < labels.dtype.itemsize <= 4096:
        raise wrong(location, f"{labels.name} has the type {labels.dtype}", "expected whole numbers or names")
    if len(labels.shape) not in (1, 2) or labels.shape[1:] not in ((), (1,)):
        raise wrong(location, f"{labels.name} has the shape {list(labels.shape)}", "expected one label an image, [N]")
    if labels.shape[0] != images.shape[0]:
        raise wrong(
            location,
            f"{labels.name} has {labels.shape[0]} labels for the {images.shape[0]} images of {images.name}",
            "expected as many",
        )


def _inline_items(location: str, pair: ArrayPair, row: RowShape, numbers: Numbers) -> Iterator[Item]:
    images = pair.images
    with ExitStack() as stack:
        with damage_told(location, images.name):
            stream = stack.enter_context(images.open())
        for first, count, labels in _runs(location, pair, row):
            with damage_told(location, images.name):
                content = read_exactly(stream, count * row.size_bytes)
            following = Numbers(numbers.split, numbers.first + first)
            yield from pixel_items(row.pixels(content), images.name, first, following, labels)
        _check_end(location, images, stream)


def _span_parts(files: Files, pair: ArrayPair, row: RowShape, numbers: Numbers, offset: int) -> Iterator[Part]:
    entries = (pair.images.entry, *(() if pair.labels is None else (pair.labels.entry,)))
    for first, count, labels in _runs(files.location, pair, row):
        following = Numbers(numbers.split, numbers.first + first)
        yield SpanPart(files, entries, pair.images.name, offset, first, count, row, following, labels)


def _runs(location: str, pair: ArrayPair, row: RowShape) -> Iterator[tuple[int, int, tuple[str, ...] | None]]:
    """First row, number of rows and labels of each part."""
    images, labels = pair.images.shape[0], pair.labels
    most = part_rows(row.size_bytes)
    with ExitStack() as stack:
        if labels is not None:
            with damage_told(location, labels.name):
                stream = stack.enter_context(labels.open())
        for first in range(0, images, most):
            count = min(most, images - first)
            yield first, count, None if labels is None else _read_labels(location, labels, stream, first, count)
        if labels is not None:
            _check_end(location, labels, stream)


def _read_labels(location: str, labels: StoredArray, stream: IO[bytes], first: int, count: int) -> tuple[str, ...]:
    with damage_told(location, labels.name):
        values = np.frombuffer(read_exactly(stream, count * labels.dtype.itemsize), labels.dtype).tolist()
        if labels.dtype.kind == "S":
            values = [value.decode("utf-8") for value in values]
    return tuple(class_name(location, f"{labels.name}[{first + index}]", value) for index, value in enumerate(values))


def _check_end(location: str, array: StoredArray, stream: IO[bytes]) -> None:
    """Reading past the last element also has archives verify their checksums."""
    with damage_told(location, array.name):
        if stream.read(1):
            raise ValueError(f"it goes on after the {array.shape[0]} elements it declares")
