"""Small files in the formats of the official data sets, and torchvision told to expect them."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision import datasets

from tests.ganlib.datasets.image_files import encode, noise

TRAIN, TEST = 6, 4
NAMES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
         "t10k-labels-idx1-ubyte.gz")  # fmt: skip


def expected(*labels: str) -> dict[tuple[str, str], int]:
    """Images by split and class of the sets below, whose two classes take turns."""
    counts = {"train": TRAIN, "test": TEST}
    return {(split, label): count // 2 for split, count in counts.items() for label in labels}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def idx(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def tar_of(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def mnist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.uint8]]:
    """The four files of MNIST; returns the images."""
    folder.mkdir()
    images = {"train": noise(1, TRAIN, 28, 28), "t10k": noise(2, TEST, 28, 28)}
    for split, pixels in images.items():
        labels = np.arange(len(pixels), dtype=np.uint8) % 2
        for name, array in ((f"{split}-images-idx3", pixels), (f"{split}-labels-idx1", labels)):
            (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(idx(array), mtime=0))
    monkeypatch.setattr(datasets.MNIST, "resources", [(name, md5(folder / name)) for name in NAMES])
    return images


def cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The archive of CIFAR-10, with one batch for training; returns its members."""
    folder.mkdir()
    batches = {
        name: pickle.dumps({"data": noise(count, count, 3072), "labels": [n % 2 for n in range(count)]}, 2)
        for name, count in (("data_batch_1", TRAIN), ("test_batch", TEST))
    }
    members = {**batches, "batches.meta": pickle.dumps({"label_names": ["cat", "dog"]}, 2), "readme.html": b"x"}
    archive = tar_of(
        folder / "cifar-10-python.tar.gz", {f"cifar-10-batches-py/{name}": content for name, content in members.items()}
    )
    digests = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in members.items()}
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", digests["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", digests["batches.meta"])
    return members


def svhn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.uint8]]:
    """SVHN's two files with labels 9, 10, 9, …; returns the images, [N, H, W, C]."""
    folder.mkdir()
    images = {"train": noise(3, TRAIN, 32, 32, 3), "test": noise(4, TEST, 32, 32, 3)}
    for split, pixels in images.items():
        name = f"{split}_32x32.mat"
        labels = 9 + np.arange(len(pixels), dtype=np.uint8).reshape(-1, 1) % 2
        savemat(folder / name, {"X": pixels.transpose(1, 2, 3, 0), "y": labels}, do_compression=True)
        entry = datasets.SVHN.split_list[split]
        monkeypatch.setitem(datasets.SVHN.split_list, split, [entry[0], name, md5(folder / name)])
    return images


def stl10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.uint8]]:
    """STL-10's archive with labels 1, 10, 1, …; returns the images, [N, H, W, C]."""
    folder.mkdir()
    images = {"train": noise(5, TRAIN, 96, 96, 3), "test": noise(6, TEST, 96, 96, 3)}
    files = {"unlabeled_X.bin": b"not wanted"}
    for split, pixels in images.items():
        files[f"{split}_X.bin"] = pixels.transpose(0, 3, 2, 1).tobytes()
        files[f"{split}_y.bin"] = bytes(1 + 9 * (n % 2) for n in range(len(pixels)))
    archive = tar_of(
        folder / "stl10_binary.tar.gz", {f"stl10_binary/{name}": content for name, content in files.items()}
    )
    monkeypatch.setattr(datasets.STL10, "tgz_md5", md5(archive))
    return images


def celeba(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """CelebA's archive of faces and the list of parts 0, 1, 2, 0, …; returns the files."""
    folder.mkdir()
    faces = {f"{n:06d}.jpg": encode(noise(n, 20, 16, 3), "JPEG") for n in range(1, TRAIN + 1)}
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        archive.mkdir("img_align_celeba")
        for name, content in faces.items():
            archive.writestr(f"img_align_celeba/{name}", content)
    lines = [f"{name} {number % 3}\n" for number, name in enumerate(faces)]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    listed = [
        (drive_id, md5(folder / name) if (folder / name).exists() else digest, name)
        for drive_id, digest, name in datasets.CelebA.file_list
    ]
    monkeypatch.setattr(datasets.CelebA, "file_list", listed)
    return faces
