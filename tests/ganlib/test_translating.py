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
from tests.ganlib.datasets.hostile_files import P3
from tests.ganlib.datasets.image_files import data_options, encode, noise
from tests.ganlib.networks.test_unet import generator, options

ORIENTATION = 0x0112


BACKGROUND = (200, 10, 60)
CLEAR = noise(0, 16, 16, 4)
COLOURS = CLEAR[..., :3]
PALETTE = Image.fromarray(COLOURS).quantize(16)
WIDE = noise(1).astype(np.uint16) * 257
OF_ALL_SORTS = {
    "rgba.png": encode(CLEAR),
    "grey_alpha.png": encode(Image.merge("LA", [Image.fromarray(CLEAR[..., channel]) for channel in (0, 3)])),
    "rgba.webp": encode(CLEAR, "WEBP", lossless=True),
    "palette.png": encode(PALETTE, transparency=3),
    "palette.gif": encode(PALETTE, "GIF", transparency=3),
    "one_colour_clear.png": encode(COLOURS, transparency=tuple(COLOURS[0, 0].tolist())),
    "one_grey_clear.png": encode(WIDE, transparency=int(WIDE[0, 0])),
    "white_is_zero.tiff": encode(WIDE, "TIFF", tiffinfo={262: 0}),
    "black_and_white.png": encode(noise(1) > 128),
    "ink.jpg": encode(Image.frombytes("CMYK", (16, 16), CLEAR.tobytes()), "JPEG"),
    "wide_colours.jpg": encode(COLOURS, "JPEG", icc_profile=P3),
    "wide_colours.png": encode(CLEAR, icc_profile=P3),
    "broken_profile.png": encode(COLOURS, icc_profile=P3[:150]),
}


def shown(content: bytes, channels: int) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        return pixels_of(opened, channels, BACKGROUND)


def packed(name: str, content: bytes, channels: int) -> np.ndarray:
    """As a training image is."""
    options = data_options("unused", image_size=16, channels=channels, background=BACKGROUND)
    (pixels,) = clean(Item(name=name, key="photo", label=None, split=None, content=content), options).pixels
    return pixels


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", OF_ALL_SORTS)
def test_files_are_read_as_training_images_are(name: str, channels: int) -> None:
    """Transparency on the background, inks and profiles in sRGB."""
    np.testing.assert_array_equal(shown(OF_ALL_SORTS[name], channels), packed(name, OF_ALL_SORTS[name], channels))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_that_nobody_agrees_on_are_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match=r"mode [FI]: nobody agrees how to show it"):
        shown(encode(noise(0).astype(dtype), "TIFF"), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_files_are_read_upright_as_the_training_images_are(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    how: dict[str, Any] = {"lossless": True} if image_format == "WEBP" else {}
    content = encode(noise(0, 16, 16, 3), image_format, exif=exif, **how)
    np.testing.assert_array_equal(shown(content, 3), packed(f"photo.{image_format.lower()}", content, 3))
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
