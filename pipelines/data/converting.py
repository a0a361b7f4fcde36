"""Official files of named data sets into what our sources read; the same bytes on every machine."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ganlib.errors import UserError

CELEBA_IMAGES = "img_align_celeba.zip"
CELEBA_PARTITION = "list_eval_partition.txt"
STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_STL10_SHAPE = (3, 96, 96)
_CHUNK_IMAGES = 1000


def copy_files(files: Mapping[str, Path], target: Path) -> None:
    """Copy files into a folder under their official names."""
    for name, path in files.items():
        shutil.copyfile(path, target / name)


def unpack(archive: Path, names: Sequence[str], target: Path) -> None:
    """Copy some members of a tar into a folder, whatever folder of the tar they are in.

    Raises:
        UserError: the archive lacks one of them.
    """
    missing = set(names)
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            content = tar.extractfile(member) if member.isfile() and name in missing else None
            if content is not None:
                with (target / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                missing.discard(name)
            if not missing:
                return
    raise UserError(f"{archive}: lacks {', '.join(sorted(missing))}; get the official file")


def svhn(files: Mapping[str, Path], target: Path) -> None:
    """SVHN's two MATLAB files, X uint8 [H, W, C, N] and y 1 … 10 (10 is the digit 0), as one npz."""
    from scipy.io import loadmat

    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, name in (("train", "train_32x32.mat"), ("test", "test_32x32.mat")):
        content = loadmat(files[name], variable_names=("X", "y"))
        arrays[f"x_{split}"] = content["X"].transpose(3, 0, 1, 2)
        arrays[f"y_{split}"] = (content["y"].ravel() % 10).astype(np.uint8)
    write_npz(target, arrays)


def stl10(files: Mapping[str, Path], target: Path) -> None:
    """STL-10's labelled images, uint8 [N, C, W, H], and labels 1 … 10, as one npz with the names of the classes."""
    wanted = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
    if not set(wanted) <= files.keys():
        (archive,) = files.values()
        scratch = target.with_name(f"{target.name}.unpacked.partial")
        scratch.mkdir(exist_ok=True)
        try:
            unpack(archive, wanted, scratch)
            stl10({name: scratch / name for name in wanted}, target)
        finally:
            shutil.rmtree(scratch)
        return
    arrays: dict[str, NDArray[np.generic]] = {}
    for split in ("train", "test"):
        pixels = np.memmap(files[f"{split}_X.bin"], dtype=np.uint8, mode="r").reshape(-1, *_STL10_SHAPE)
        arrays[f"x_{split}"] = pixels.transpose(0, 3, 2, 1)
        labels = np.fromfile(files[f"{split}_y.bin"], dtype=np.uint8)
        arrays[f"y_{split}"] = np.array(STL10_CLASSES)[labels - 1]
    write_npz(target, arrays)


def celeba(files: Mapping[str, Path], target: Path) -> None:
    """CelebA's aligned faces as a zip with a `train` folder (with the validation part) and a `test` folder.

    The JPEG files stay as they are.
    """
    with files[CELEBA_PARTITION].open(encoding="ascii") as lines:
        part = dict(line.split() for line in lines if line.strip())
    with zipfile.ZipFile(files[CELEBA_IMAGES]) as images, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for member in images.infolist():
            name = PurePosixPath(member.filename).name
            if member.is_dir() or name not in part:
                continue
            folder = "test" if part[name] == "2" else "train"
            with images.open(member) as content, packed.open(zipfile.ZipInfo(f"{folder}/{name}"), "w") as file:
                shutil.copyfileobj(content, file)


def write_npz(target: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays as `np.savez` does, but some images at a time and with a fixed date."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                _write_npy(file, array)


def _write_npy(file: IO[bytes], array: NDArray[np.generic]) -> None:
    description = np.lib.format.dtype_to_descr(array.dtype)
    header = {"descr": description, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for chunk in _chunks(array):
        file.write(np.ascontiguousarray(chunk).tobytes())


def _chunks(array: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    for start in range(0, len(array), _CHUNK_IMAGES):
        yield array[start : start + _CHUNK_IMAGES]
