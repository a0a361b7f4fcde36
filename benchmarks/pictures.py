"""Pictures to train on where nobody has given a folder, and both forms that the contenders read them in."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from ganlib.config import DataOptions
from ganlib.datasets.packing import pack

IMAGE_SIZE: Final = 32
CLASSES = 10
OCTAVES = (4, 8, 16, 32)


def draw(folder: Path, count: int) -> None:
    """Write `count` coloured PNG files of 32 x 32 pixels into class folders, with spectra like those of photographs.

    Octaves of noise whose amplitude falls as 1 / frequency: they compress and
    decode like small photographs.
    """
    draws = np.random.default_rng(0)
    for index in range(count):
        picture = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.float32)
        for side in OCTAVES:
            noise = draws.normal(0, 220 / side, (side, side, 3)).astype(np.float32)
            layers = [
                np.asarray(
                    Image.fromarray(noise[..., channel]).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
                )
                for channel in range(3)
            ]
            picture += np.stack(layers, axis=-1)
        pixels = np.clip(128 + picture, 0, 255).astype(np.uint8)
        path = folder / f"class{index % CLASSES}" / f"{index:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def pack_folder(images: Path, packed: Path) -> None:
    """Pack a folder of class folders for our feed.

    Raises:
        UserError: the folder is unusable.
    """
    options = DataOptions(
        source=str(images),
        image_size=IMAGE_SIZE,
        channels=3,
        resizer="box",
        test_share=0.02,
        shard_images=8192,
        max_pixels=100_000_000,
        max_unreadable_share=0.1,
    )
    pack(options, packed)
