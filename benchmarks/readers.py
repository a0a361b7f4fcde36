"""What is raced at reading: endless random batches of float images [N, 3, H, W] in [-1, 1]."""

import time
from bisect import bisect_right
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from benchmarks.contenders import Setting
from benchmarks.pictures import split_folders
from ganlib.datasets.packed.reading import open_packed
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.recipe import Recipe

READERS = ("folder", "folder+2", "map", "map+2", "ours")
BATCH_SIZE = 64
# More than the workers of a DataLoader have read ahead.
DRAINED_BATCHES = 10
CHUNK_BATCHES = 5


def read_with(name: str, images: Path, packed: Path, slot_s: float) -> dict[str, Any]:
    """Read for `slot_s` seconds with a contender.

    `folder` is `ImageFolder` and `DataLoader`; `map` a `DataLoader` over the
    shards that `ours` reads, memory-mapped, image by image; `+N` with N workers.

    Returns:
        Batches, and the seconds that they took.
    """
    batches = batches_of(name, images, packed)
    for _ in range(DRAINED_BATCHES):
        next(batches)
    start = time.perf_counter()
    read = 0
    while time.perf_counter() - start < slot_s:
        for _ in range(CHUNK_BATCHES):
            next(batches)
        read += CHUNK_BATCHES
    return {"batches": read, "seconds": time.perf_counter() - start}


def batches_of(name: str, images: Path, packed: Path) -> Iterator[Tensor]:
    """A contender's endless batches."""
    kind, _, workers = name.partition("+")
    match kind:
        case "ours":
            return _ours(packed)
        case "map":
            return _loaded(MappedShards(packed), int(workers or 0))
        case "folder":
            transform = transforms.Compose(
                [
                    transforms.Resize(32),
                    transforms.CenterCrop(32),
                    transforms.ToTensor(),
                    transforms.Normalize(0.5, 0.5),
                ]
            )
            return _loaded(datasets.ImageFolder(str(split_folders(images)[0]), transform), int(workers or 0))
        case _:
            raise ValueError(f"{name}: no such reader")


def _ours(packed: Path) -> Iterator[Tensor]:
    """What the training loop reads."""
    data = open_packed(packed)
    config = Setting("dcgan", "cpu", "cpu", 1, images=packed, packed=packed).configuration()
    assert config.train.batch_size == BATCH_SIZE
    feed = SplitFeed(data.train, Recipe.of(config, data.image), ALONE, torch.device("cpu"))
    for batch in count():
        yield feed.at(batch * BATCH_SIZE).images


def _loaded(dataset: Dataset[tuple[Tensor, int]], workers: int) -> Iterator[Tensor]:
    loader = DataLoader(
        dataset, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        for images, _labels in loader:
            yield images


class MappedShards(Dataset[tuple[Tensor, int]]):
    """The training shards image by image, as one would write it."""

    def __init__(self, packed: Path) -> None:
        shards = sorted(packed.glob("train-[0-9]*.npy"))
        self._shards = [np.load(path, mmap_mode="r") for path in shards]
        self._ends = np.cumsum([len(shard) for shard in self._shards]).tolist()
        self._labels = np.load(packed / "train-labels.npy")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        shard = bisect_right(self._ends, index)
        pixels = self._shards[shard][index - self._ends[shard]]
        image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float()
        return image / 127.5 - 1, int(self._labels[index])
