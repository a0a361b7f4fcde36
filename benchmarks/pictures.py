"""Pictures to work on where nobody has given a folder, and both forms that the contenders read them in."""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from ganlib.config import DataOptions, PreprocessOptions
from ganlib.datasets.packed.manifest import Manifest
from ganlib.datasets.packing.pack import pack
from pipelines.presets import preset_text

IMAGE_SIZE: Final = 32
CLASSES = 10
SUFFIXES = (".jpg", ".jpeg", ".png")
PRESET = Path(__file__).resolve().parents[1] / "presets" / "cifar10-dcgan.yaml"
# Side of the coarsest octave and its standard deviation in grey values; the following ones are twice as fine each.
COARSEST = 4
COARSEST_STD = 50
# With this fall files are as large as photographs of the same size.
FALL = 0.5


def draw(
    folder: Path,
    count: int,
    *,
    width: int = IMAGE_SIZE,
    height: int = IMAGE_SIZE,
    suffix: str = ".png",
    quality: int = 75,
    seed: int = 0,
) -> None:
    """Write `count` coloured files into class folders, which compress and decode like photographs."""
    draws = np.random.default_rng(seed)
    for name in range(CLASSES):
        (folder / f"class{name}").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = folder / f"class{index % CLASSES}" / f"{index:05}{suffix}"
        Image.fromarray(picture(draws, width, height)).save(path, quality=quality)


def picture(draws: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: octaves of noise, the finer the fainter, so that they compress like photographs."""
    total = np.full((height, width, 3), 128, dtype=np.float32)
    side = COARSEST
    while side <= min(width, height):
        noise = draws.standard_normal((side, side, 3), dtype=np.float32) * np.float32(
            COARSEST_STD * (COARSEST / side) ** FALL
        )
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        side *= 2
    return np.clip(total, 0, 255).astype(np.uint8)


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def split_folders(folder: Path) -> list[Path]:
    """The folders of class folders: `train` and `test` where both are there, else the folder itself."""
    own = [folder / "train", folder / "test"]
    return own if all(each.is_dir() for each in own) else [folder]


def data_options(images: Path, **changes: Any) -> DataOptions:
    """The CIFAR-10 preset's, all its checks included, but for `changes`."""
    values = yaml.safe_load(preset_text(PRESET))["data"]
    return DataOptions.model_validate(values | {"source": str(images)} | changes)


def pack_folder(images: Path, packed: Path, *, workers: int = 1, keep_parts: bool = False, **changes: Any) -> Manifest:
    """Pack a folder of class folders; scratch files lie beside the packed data.

    Raises:
        UserError: the folder is unusable.
    """
    preprocess = PreprocessOptions(executor="processes", workers=workers, dask_address=None, keep_parts=keep_parts)
    scratch = packed.with_name(f"{packed.name}-scratch")
    return pack(data_options(images, **changes), preprocess, packed, scratch=scratch)
