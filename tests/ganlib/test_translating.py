"""Image files as they are shown, and large images in tiles."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from ganlib.config import ImageSpec, InputsOptions
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import Item
from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator
from ganlib.translating import pixels_of, translate_image
from tests.ganlib.datasets.image_files import data_options, encode, noise
from tests.ganlib.networks.test_unet import generator, options

ORIENTATION = 0x0112


def shown(content: bytes, channels: int) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        return pixels_of(opened, channels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_files_are_read_upright_as_the_training_images_are(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    how: dict[str, Any] = {"lossless": True} if image_format == "WEBP" else {}
    content = encode(noise(0, 16, 16, 3), image_format, exif=exif, **how)
    item = Item(name=f"photo.{image_format.lower()}", key="photo", label=None, split=None, content=content)
    (packed,) = clean(item, data_options("unused", image_size=16, channels=3)).pixels
    np.testing.assert_array_equal(shown(content, 3), packed)
    if image_format == "PNG":  # what is wide and high changes places
        assert shown(encode(noise(1, 9, 14), exif=exif), 1).shape == ((9, 14, 1) if orientation < 5 else (14, 9, 1))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_greys_of_sixteen_bits_are_scaled(image_format: str) -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (16, 16), dtype=np.uint16)
    found = shown(encode(wide, image_format), 3)
    np.testing.assert_array_equal(found, np.repeat(np.rint(wide / 257)[:, :, None], 3, axis=2))


def test_exif_data_that_cannot_be_read_are_ignored() -> None:
    pixels = noise(0, 16, 16)
    np.testing.assert_array_equal(shown(encode(pixels, exif=b"Exif\0\0no TIFF header"), 1)[..., 0], pixels)


def translator(**inputs: Any) -> ImageGenerator:
    return ImageGenerator(
        generator(),
        options(),
        ImageSpec(size=16, channels=3, classes=()),
        {"seen_images": 1},
        TypeAdapter(InputsOptions).validate_python(inputs),
    )


@pytest.mark.parametrize("shape", [(150, 90), (31, 201), (7, 5)])
def test_tiles_are_the_whole_image(shape: tuple[int, int]) -> None:
    made = translator(kind="denoise", std=0.1)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    whole = translate_image(made, pixels, seed=3, tile_px=4096)
    tiled = translate_image(made, pixels, seed=3, tile_px=32)
    assert whole.shape == pixels.shape
    assert np.abs(whole.astype(int) - tiled).max() <= 1  # rounding of other sums
    assert (whole != tiled).mean() < 1e-3
    assert not np.array_equal(translate_image(made, pixels, seed=4), whole)


def test_a_higher_resolution_comes_out_larger() -> None:
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    assert translate_image(translator(kind="superresolve", factor=4), pixels, seed=0).shape == (80, 120, 3)


def test_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match="found 1 channels, expected 3"):
        translate_image(translator(kind="denoise", std=0.1), np.zeros((8, 8, 1), dtype=np.uint8), seed=0)
