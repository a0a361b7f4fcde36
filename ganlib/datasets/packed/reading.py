"""Packed data, memory-mapped: whole batches by index."""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import ImageSpec
from ganlib.datasets.packed.manifest import Manifest, labels_name, shard_name
from ganlib.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """One split; `digest` is its content address and `labels` int64 [N], None when unlabelled.

    Where it is `paired`, each image has another one that a translator is given, on its right in the shards.
    """

    name: str
    digest: str
    labels: NDArray[np.int64] | None
    _shards: Sequence[NDArray[np.uint8]]
    _starts: NDArray[np.int64]
    paired: bool = False
    _rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._rows is None else len(self._rows)

    def part(self, rows: NDArray[np.int64]) -> "Split":
        """Some of the images, int64 [n], as a split of its own."""
        digest = hashlib.sha256(self.digest.encode() + rows.astype("<i8").tobytes()).hexdigest()
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, digest=digest, labels=labels, _rows=rows if self._rows is None else self._rows[rows])

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images by index, in the order asked: int64 [N] -> uint8 [N, H, W, C].

        Raises:
            IndexError: an index below 0 or beyond the split.
        """
        return self._take(indices, slice(0, self._side))

    def take_inputs(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """What a translator is given of pairs, as `take` gives the images."""
        assert self.paired
        return self._take(indices, slice(self._side, None))

    def take_packed(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images as they are packed, of pairs both: [N, H, 2 W, C]."""
        return self._take(indices, slice(None))

    @property
    def _side(self) -> int:
        side: int = self._shards[0].shape[1]
        return side

    def _take(self, indices: NDArray[np.int64], columns: slice) -> NDArray[np.uint8]:
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"found {indices.min()} to {indices.max()}, expected 0 to {len(self) - 1}")
        if self._rows is not None:
            indices = self._rows[indices]
        images = np.empty((len(indices), *self._shards[0][0, :, columns].shape), dtype=np.uint8)
        shards = np.searchsorted(self._starts, indices, side="right") - 1
        rows = indices - self._starts[shards]
        # One by one: as quick as an index array over one shard, and four times as quick over two hundred.
        for image, shard, row in zip(images, shards.tolist(), rows.tolist(), strict=True):
            image[...] = self._shards[shard][row][:, columns]
        return images

    def batches(self, size: int = 250) -> Iterator[NDArray[np.uint8]]:
        """All images in order, `size` at a time: uint8 [n, H, W, C]."""
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


@dataclass(frozen=True, eq=False)
class PackedData:
    """What `pack` wrote: both splits and their description."""

    image: ImageSpec
    train: Split
    test: Split
    manifest: Manifest


def open_packed(folder: Path) -> PackedData:
    """Open a folder that `pack` wrote; pixels stay on disk until they are taken.

    Raises:
        UserError: the folder is missing, incomplete or damaged.
    """
    manifest = Manifest.read(folder)
    return PackedData(
        image=manifest.image,
        train=_open_split(folder, "train", manifest),
        test=_open_split(folder, "test", manifest),
        manifest=manifest,
    )


def _open_split(folder: Path, name: str, manifest: Manifest) -> Split:
    image, summary = manifest.image, manifest.splits[name]
    sides = (image.size, image.size * (2 if manifest.paired else 1), image.channels)
    shards = [_map(folder / shard_name(name, index), (length, *sides)) for index, length in enumerate(summary.shards)]
    return Split(
        name=name,
        digest=summary.digest,
        labels=_read_labels(folder / labels_name(name), summary.images, image) if image.classes else None,
        _shards=shards,
        _starts=np.cumsum([0, *summary.shards]),
        paired=manifest.paired,
    )


def _map(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A shard, memory-mapped; unlike NumPy's maps it holds no file open, of which a process may have but 1,024."""
    with _trouble_told(path), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"format {version}")
        found_shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        start, count = file.tell(), math.prod(shape)
        size = os.fstat(file.fileno()).st_size
    _check(path, dtype, found_shape, np.dtype(np.uint8), shape)
    if fortran_order or size != start + count:
        raise UserError(f"{path}: damaged ({size} bytes, expected {start + count}); run the preprocess stage again")
    mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    pixels: NDArray[np.uint8] = mapped[start:].view(shape).numpy()
    pixels.setflags(write=False)
    return pixels


def _read_labels(path: Path, images: int, image: ImageSpec) -> NDArray[np.int64]:
    with _trouble_told(path):
        labels: NDArray[np.int64] = np.load(path, allow_pickle=False)
    _check(path, labels.dtype, labels.shape, np.dtype(np.int64), (images,))
    if not 0 <= labels.min() <= labels.max() < image.num_classes:
        raise UserError(f"{path}: damaged (a label beyond the classes); run the preprocess stage again")
    labels.setflags(write=False)
    return labels


@contextmanager
def _trouble_told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run the preprocess stage again") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())}); run the preprocess stage again") from None


def _check(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], wanted: np.dtype[Any], wanted_shape: tuple[int, ...]
) -> None:
    if dtype != wanted or shape != wanted_shape:
        raise UserError(
            f"{path}: found {dtype} {shape}, expected {wanted} {wanted_shape}; run the preprocess stage again"
        )
