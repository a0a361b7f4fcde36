"""CIFAR-10 and CIFAR-100 as they are published: binary files, or Python batches, which are not unpickled.

An image is 32 x 32 x 3, stored as three planes. In binary files each follows
its label (CIFAR-100: the coarse, then the fine one). See Krizhevsky, "Learning
multiple layers of features from tiny images", 2009, and its download page.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions
from ganlib.datasets.files.places import wrong
from ganlib.datasets.items import FileEntry, Files, Item, Part, SplitName
from ganlib.datasets.sources.pickles import read_pickle
from ganlib.datasets.sources.rows import (
    PART_ROWS,
    Numbering,
    Numbers,
    class_names,
    damage_told,
    inline_parts,
    named,
    pixel_items,
    read_whole,
    refuse_label_file,
)

_PIXELS = 3 * 32 * 32
# The largest published batch has 155 MB.
_MAX_FILE_BYTES = 256 << 20

Rows = tuple[NDArray[np.uint8], Sequence[object]]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How files are called; `read` gives pixels [N, 3072] and labels of a batch, `names` the class names."""

    title: str
    train: str
    test: str
    meta: str
    read: Callable[[bytes], Rows]
    names: Callable[[bytes], object]

    def split(self, name: str) -> SplitName | None:
        """The split of a batch, None for any other file."""
        file = name.rpartition("/")[2]
        if re.fullmatch(self.train, file, re.ASCII):
            return "train"
        return "test" if file == self.test else None


def is_cifar(names: Iterable[str]) -> bool:
    """Whether files with these names are a CIFAR data set."""
    return len(_fitting(names)) > 0


class CifarSource:
    """CIFAR-10 or CIFAR-100, binary or Python, in a folder or in the archive as it was downloaded."""

    def __init__(self, files: Files, options: DataOptions) -> None:
        self._files = files
        self._options = options

    @property
    def description(self) -> str:
        """See `Source`."""
        return "CIFAR batches"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: files are missing or damaged, ask for code to be run, or labels have no names.
        """
        refuse_label_file(self._files, self._options, self.description)
        layout, batches = self._survey()
        splits = {name: layout.split(name) for name in batches}
        numbering = Numbering(self._files.location, splits.values(), self._options)
        folder, slash, _ = batches[0].rpartition("/")
        meta = f"{folder}{slash}{layout.meta}"
        # A compressed tar gives its files in any order; numbers must not depend on it.
        counts, names = self._read_ahead(layout, [*batches, meta] if self._files.sequential else [meta], meta)
        numbers = {name: numbering.take(splits[name], counts[name]) for name in batches if name in counts}
        for entry, stream in self._opened(batches):
            rows = self._rows(layout, entry, stream)
            following = numbers.get(entry.name) or numbering.take(splits[entry.name], len(rows[0]))
            yield from inline_parts(self._items(entry, rows, following, names), [entry])

    def _survey(self) -> tuple[_Layout, list[str]]:
        """The layout, and the batches in their order."""
        location = self._files.location
        names = [entry.name for entry in self._files.entries() if isinstance(entry, FileEntry)]
        layouts = _fitting(names)
        if len(layouts) != 1:
            found = " and ".join(layout.title for layout in layouts) or "no CIFAR batches"
            raise wrong(
                location, f"found {found}", "expected one of binary and Python batches of CIFAR-10 or CIFAR-100"
            )
        batches = sorted((name for name in names if layouts[0].split(name)), key=lambda name: (len(name), name))
        folders = sorted({name.rpartition("/")[0] or "." for name in batches})
        if len(folders) > 1:
            raise wrong(location, f"found CIFAR batches in {', '.join(folders[:3])}", "expected one folder of them")
        return layouts[0], batches

    def _read_ahead(
        self, layout: _Layout, files: list[str], meta: str
    ) -> tuple[dict[str, int], tuple[str, ...] | None]:
        """How many images the batches among these files have, and the class names where the file of names is there."""
        counts: dict[str, int] = {}
        names: tuple[str, ...] | None = None
        for entry, stream in self._opened(files):
            if entry.name != meta:
                counts[entry.name] = len(self._rows(layout, entry, stream)[0])
                continue
            with damage_told(self._files.location, entry.name):
                listed = layout.names(read_whole(entry, stream, _MAX_FILE_BYTES))
            names = class_names(self._files.location, entry.name, listed)
        return counts, names

    def _opened(self, names: Sequence[str]) -> Iterator[tuple[FileEntry, IO[bytes]]]:
        """Those of the files that are there: in this order, or in the archive's."""
        if self._files.sequential:
            for found in self._files.stream():
                if isinstance(found, tuple) and found[0].name in names:
                    yield found
            return
        entries = {entry.name: entry for entry in self._files.entries() if isinstance(entry, FileEntry)}
        for name in names:
            if name in entries:
                with damage_told(self._files.location, name):
                    stream = self._files.open(name)
                with stream:
                    yield entries[name], stream

    def _rows(self, layout: _Layout, entry: FileEntry, stream: IO[bytes]) -> Rows:
        with damage_told(self._files.location, entry.name):
            pixels, labels = layout.read(read_whole(entry, stream, _MAX_FILE_BYTES))
            if len(pixels) != len(labels):
                raise ValueError(f"it has {len(labels)} labels for {len(pixels)} images")
        return pixels, labels

    def _items(self, entry: FileEntry, rows: Rows, numbers: Numbers, names: tuple[str, ...] | None) -> Iterator[Item]:
        pixels, labels = rows
        for first in range(0, len(pixels), PART_ROWS):
            run = slice(first, first + PART_ROWS)
            images = pixels[run].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            following = Numbers(numbers.split, numbers.first + first)
            yield from pixel_items(images, entry.name, first, following, self._labels(entry, labels[run], first, names))

    def _labels(
        self, entry: FileEntry, labels: Sequence[object], first: int, names: tuple[str, ...] | None
    ) -> list[str] | None:
        if self._options.labels == "none":
            return None
        with damage_told(self._files.location, entry.name):
            return [
                named(self._files.location, f"{entry.name}[{first + index}]", label, names)
                for index, label in enumerate(labels)
            ]


def _fitting(names: Iterable[str]) -> list[_Layout]:
    files = {name.rpartition("/")[2] for name in names}
    return [
        layout
        for layout in _LAYOUTS
        # Files called `train` and `test` are anything; the one beside them tells.
        if any(layout.split(file) for file in files) and (layout.test != "test" or layout.meta in files)
    ]


def _read_binary(content: bytes, labels: int) -> Rows:
    """Rows of `labels` labels, the last of which counts, and an image."""
    size = labels + _PIXELS
    if not content or len(content) % size:
        raise ValueError(f"it has {len(content)} bytes, expected a multiple of {size}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, size)
    return rows[:, labels:], rows[:, labels - 1].tolist()


def _read_python(content: bytes, key: str) -> Rows:
    batch = _texts(read_pickle(content))
    pixels, labels = batch.get("data"), batch.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS or not len(pixels):
        raise ValueError(f"it has no array `data` of rows of {_PIXELS} bytes")
    if not isinstance(labels, list):
        raise ValueError(f"it has no list `{key}`")
    return pixels, labels


def _texts(value: object) -> dict[str, Any]:
    """A dict with keys of Python 2 or 3."""
    if not isinstance(value, dict):
        raise ValueError("it holds no dict")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): entry for key, entry in value.items()}


def _python_names(content: bytes, key: str) -> object:
    names = _texts(read_pickle(content)).get(key)
    if not isinstance(names, list):
        return None
    return [name.decode("utf-8") if isinstance(name, bytes) else name for name in names]


def _lines(content: bytes) -> object:
    return content.decode("utf-8").split()


_LAYOUTS = (
    _Layout(
        "CIFAR-10 binary batches",
        r"data_batch_[0-9]+\.bin",
        "test_batch.bin",
        "batches.meta.txt",
        lambda content: _read_binary(content, 1),
        _lines,
    ),
    _Layout(
        "CIFAR-100 binary batches",
        r"train\.bin",
        "test.bin",
        "fine_label_names.txt",
        lambda content: _read_binary(content, 2),
        _lines,
    ),
    _Layout(
        "CIFAR-10 Python batches",
        "data_batch_[0-9]+",
        "test_batch",
        "batches.meta",
        lambda content: _read_python(content, "labels"),
        lambda content: _python_names(content, "label_names"),
    ),
    _Layout(
        "CIFAR-100 Python batches",
        "train",
        "test",
        "meta",
        lambda content: _read_python(content, "fine_labels"),
        lambda content: _python_names(content, "fine_label_names"),
    ),
)
