"""IDX files: the format of MNIST, EMNIST, Fashion-MNIST and KMNIST.

Two zero bytes, the type (8: unsigned bytes), the number of dimensions, each
dimension as a big-endian 32-bit number, then the values. The format is
described at the foot of LeCun's page of MNIST. Images are taken as they are
stored (those of EMNIST are transposed).
"""

import gzip
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO

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
from ganlib.datasets.sources.splits import Role, role_of_folder
from ganlib.events import EventSink, ignore

_IMAGES = re.compile(r"(?P<set>.*?)images(?P<dash>[-.])idx[34](?P<dot>[-.])ubyte(\.gz)?", re.ASCII)
_UNSIGNED_BYTES = b"\0\0\x08"


def is_idx(name: str) -> bool:
    """Whether a file is one of IDX images, by its name."""
    return _IMAGES.fullmatch(name.rpartition("/")[2]) is not None


class IdxSource:
    """Files such as `train-images-idx3-ubyte` with `train-labels-idx1-ubyte` beside them, each also with `.gz`.

    `train` and `t10k` or `test` before `images` name the split. Of a file that
    is there packed and unpacked, the unpacked one is read.
    """

    def __init__(self, files: Files, options: DataOptions, on_event: EventSink = ignore) -> None:
        self._files = files
        self._options = options
        self._on_event = on_event

    @property
    def description(self) -> str:
        """See `Source`."""
        return "IDX files"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: headers, sizes and counts do not fit together, or files are missing or damaged.
        """
        refuse_label_file(self._files, self._options, self.description)
        refuse_sequential(self._files, self.description)
        yield from array_parts(self._files, self._options, self._pairs(), self._on_event)

    def _pairs(self) -> list[ArrayPair]:
        entries = {entry.name: entry for entry in listed(self._files, lambda name: "ubyte" in name)}
        found = [name for name in entries if is_idx(name) and not _packed_twin(name, entries)]
        if not found:
            raise wrong(
                self._files.location, "found no IDX images", "expected a name such as train-images-idx3-ubyte.gz"
            )
        sets = sorted({_set_of(name) for name in found})
        if len(sets) > 1 or len({_role_in(name) for name in found}) < len(found):
            raise wrong(
                self._files.location,
                f"found several sets of IDX images ({', '.join(sorted(found)[:4])})",
                "expected one, of at most a train and a test file; point at its folder or remove the others",
            )
        return [
            ArrayPair(_role_in(name), self._open(entries[name]), self._labels(name, entries)) for name in sorted(found)
        ]

    def _labels(self, images: str, entries: dict[str, FileEntry]) -> StoredArray | None:
        if self._options.labels == "none":
            return None
        folder, slash, file = images.rpartition("/")
        match = _IMAGES.fullmatch(file)
        assert match is not None
        name = f"{folder}{slash}{match['set']}labels{match['dash']}idx1{match['dot']}ubyte"
        entry = entries.get(name) or entries.get(f"{name}.gz")
        return None if entry is None else self._open(entry)

    def _open(self, entry: FileEntry) -> StoredArray:
        packed = entry.name.endswith(".gz")
        with damage_told(self._files.location, entry.name):
            with _values(self._files, entry.name, 0) as stream:
                shape = _read_shape(stream)
            header_bytes = 4 + 4 * len(shape)
            expected_bytes = header_bytes + math.prod(shape)
            if not packed and entry.size_bytes not in (UNKNOWN_SIZE, expected_bytes):
                raise ValueError(f"it has {entry.size_bytes} bytes, its header {list(shape)} asks for {expected_bytes}")
            with self._files.open(entry.name) as stream:
                direct = not packed and reachable(entry, stream)
        return StoredArray(
            name=entry.name,
            entry=entry,
            shape=shape,
            dtype=np.dtype(np.uint8),
            open=partial(_values, self._files, entry.name, header_bytes),
            offset=header_bytes if direct else None,
        )


def _packed_twin(name: str, entries: dict[str, FileEntry]) -> bool:
    return name.endswith(".gz") and name.removesuffix(".gz") in entries


def _words(name: str) -> tuple[str, list[str]]:
    folder, _, file = name.rpartition("/")
    match = _IMAGES.fullmatch(file)
    assert match is not None
    return folder, [word for word in re.split(r"[-_.]", match["set"]) if word]


def _role_in(name: str) -> Role | None:
    _, words = _words(name)
    return role_of_folder(words[-1]) if words else None


def _set_of(name: str) -> str:
    """What the train and the test file of a set have in common."""
    folder, words = _words(name)
    return f"{folder}/{'-'.join(words[:-1] if words and role_of_folder(words[-1]) else words)}"


@contextmanager
def _values(files: Files, name: str, skipped_bytes: int) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked, after its header."""
    with files.open(name) as stored:
        if not name.endswith(".gz"):
            read_exactly(stored, skipped_bytes)
            yield stored
            return
        with gzip.GzipFile(fileobj=stored) as unpacked:
            stream: IO[bytes] = unpacked  # type: ignore[assignment]
            read_exactly(stream, skipped_bytes)
            yield stream


def _read_shape(stream: IO[bytes]) -> tuple[int, ...]:
    magic = read_exactly(stream, 4)
    dimensions = magic[3]
    if magic[:3] != _UNSIGNED_BYTES or not 1 <= dimensions <= 4:
        raise ValueError(f"it starts with {magic.hex()}, expected 000008 and 01 to 04 for unsigned bytes")
    return struct.unpack(f">{dimensions}I", read_exactly(stream, 4 * dimensions))
