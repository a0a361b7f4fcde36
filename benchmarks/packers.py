"""What is raced at packing: from a folder of image files to arrays on disk, in seconds, imports not counted.

Torch is imported where it is used: memory is measured too.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.pictures import data_options, image_files, pack_folder, split_folders

PACKERS = ("pil", "folder", "folder+2", "ours", "ours+2")
BATCH_SIZE = 256


def pack_with(name: str, images: Path, destination: Path, image_size: int, **changes: Any) -> dict[str, Any]:
    """Pack with a contender: `pil`, `folder` (`ImageFolder` and `DataLoader`) or `ours`, `+N` with N workers.

    Returns:
        Seconds, the images packed, and how many files and bytes they take.
    """
    kind, _, workers = name.partition("+")
    count, seconds = _PACKERS[kind](images, destination, image_size, int(workers or 0), changes)
    files = [path for path in destination.rglob("*") if path.is_file()]
    size_bytes = sum(path.stat().st_size for path in files)
    return {"seconds": seconds, "images": count, "files": len(files), "bytes": size_bytes}


def _ours(images: Path, destination: Path, image_size: int, workers: int, changes: dict[str, Any]) -> tuple[int, float]:
    start = time.perf_counter()
    manifest = pack_folder(images, destination, workers=workers or 1, image_size=image_size, **changes)
    return sum(split.images for split in manifest.splits.values()), time.perf_counter() - start


def _pil(images: Path, destination: Path, image_size: int, _workers: int, _changes: object) -> tuple[int, float]:
    """The loop that people write."""
    resampling = Image.Resampling[data_options(images).resizer.upper()]
    start = time.perf_counter()
    pixels, labels = [], []
    for path in image_files(images):
        with Image.open(path) as file:
            image = file.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        pixels.append(np.asarray(square.resize((image_size, image_size), resampling)))
        labels.append(path.parent.name)
    destination.mkdir(parents=True)
    np.save(destination / "images.npy", np.stack(pixels))
    np.save(destination / "labels.npy", np.unique(labels, return_inverse=True)[1])
    return len(pixels), time.perf_counter() - start


def _folder(images: Path, destination: Path, image_size: int, workers: int, _changes: object) -> tuple[int, float]:
    import torch
    from torch.utils.data import ConcatDataset, DataLoader
    from torchvision import datasets, transforms

    resampling = transforms.InterpolationMode(data_options(images).resizer)
    start = time.perf_counter()
    transform = transforms.Compose(
        [transforms.Resize(image_size, resampling), transforms.CenterCrop(image_size), transforms.PILToTensor()]
    )
    parts = [datasets.ImageFolder(str(each), transform) for each in split_folders(images)]
    whole: ConcatDataset[tuple[torch.Tensor, int]] = ConcatDataset(parts)
    batches = list(DataLoader(whole, BATCH_SIZE, num_workers=workers))
    destination.mkdir(parents=True)
    pixels = torch.cat([batch for batch, _ in batches]).permute(0, 2, 3, 1).contiguous()
    np.save(destination / "images.npy", pixels.numpy())
    np.save(destination / "labels.npy", torch.cat([labels for _, labels in batches]).numpy())
    return len(whole), time.perf_counter() - start


_PACKERS: dict[str, Callable[[Path, Path, int, int, dict[str, Any]], tuple[int, float]]] = {
    "ours": _ours,
    "pil": _pil,
    "folder": _folder,
}
