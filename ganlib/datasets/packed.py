"""Packed data, memory-mapped: whole batches by index."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlib.config import ImageSpec
from ganlib.datasets.manifest import Manifest, labels_name, shard_name
from ganlib.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """One split; `digest` is its content address and `labels` int64 [N], None when unlabelled."""

    name: str
    digest: str
    labels: NDArray[np.int64] | None
    _shards: Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images by index, in the order asked: int64 [N] -> uint8 [N, H, W, C].

        Raises:
            IndexError: an index below 0 or beyond the split.
        """
        order = np.argsort(indices, kind="stable")
        ascending = indices[order]
        if len(indices) and not 0 <= ascending[0] <= ascending[-1] < len(self):
            raise IndexError(f"found {ascending[0]} to {ascending[-1]}, expected 0 to {len(self) - 1}")
        images = np.empty((len(indices), *self._shards[0].shape[1:]), dtype=np.uint8)
        # All shards but the last are of equal length. Ascending reads are the
        # quickest way through a memory map.
        length = len(self._shards[0])
        bounds = np.searchsorted(ascending, np.arange(len(self._shards) + 1) * length)
        for index in np.flatnonzero(np.diff(bounds)).tolist():
            part = slice(bounds[index], bounds[index + 1])
            images[order[part]] = self._shards[index][ascending[part] - index * length]
        return images


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
    shards = []
    for index, length in enumerate(manifest.shard_lengths(name)):
        shape = (length, image.size, image.size, image.channels)
        # A plain view: indexing the memmap class itself costs more than the copy.
        shards.append(_open_array(folder / shard_name(name, index), np.dtype(np.uint8), shape).view(np.ndarray))
    labels = None
    if image.classes:
        path = folder / labels_name(name)
        labels = np.array(_open_array(path, np.dtype(np.int64), (summary.images,)))
        if not 0 <= labels.min() <= labels.max() < image.num_classes:
            raise UserError(f"{path}: damaged (a label beyond the classes); run the preprocess stage again")
        labels.setflags(write=False)
    return Split(name=name, digest=summary.digest, labels=labels, _shards=shards)


def _open_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run the preprocess stage again") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())}); run the preprocess stage again") from None
    if array.dtype != dtype or array.shape != shape:
        raise UserError(
            f"{path}: found {array.dtype} {array.shape}, expected {dtype} {shape}; run the preprocess stage again"
        )
    return array
