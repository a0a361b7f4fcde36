"""Cropping, padding, tiling and resizing against numpy, and against Pillow used step by step."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ganlib.datasets.cleaning.fitting import fit, squares
from tests.ganlib.datasets.image_files import data_options, noise

RESIZERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
BACKGROUND = (200, 30, 90)
GREY_OF_BACKGROUND = round(0.299 * 200 + 0.587 * 30 + 0.114 * 90)


def by_pillow(pixels: NDArray[np.uint8], channels: int, resizer: str) -> NDArray[np.uint8]:
    """Flatten, convert, crop and resize, all of it in this order and by Pillow."""
    image = Image.fromarray(pixels)
    if image.mode == "RGBA" and channels != 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((16, 16), RESIZERS[resizer])
    fitted = np.array(square).reshape(16, 16, channels)
    if channels == 4:
        fitted[fitted[..., 3] == 0] = 0
    return fitted


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    stored=st.sampled_from([1, 3, 4]),
    channels=st.sampled_from([1, 3, 4]),
    resizer=st.sampled_from(sorted(RESIZERS)),
    seed=st.integers(0, 999),
)
@settings(max_examples=150)
def test_crops_are_pillows_numbers(
    height: int, width: int, stored: int, channels: int, resizer: str, seed: int
) -> None:
    pixels = noise(seed, height, width) if stored == 1 else noise(seed, height, width, stored)
    if stored == 4:
        pixels[..., 3] *= noise(seed + 1, height, width) > 80
    options = data_options("unused", channels=channels, resizer=resizer, background=BACKGROUND)
    fitted = fit(pixels, options)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    assert (fitted == by_pillow(pixels, channels, resizer)).all()


@pytest.mark.parametrize("shape", [(16, 21), (20, 16)])
def test_centre_square(shape: tuple[int, int]) -> None:
    pixels = noise(14, *shape)
    expected = pixels[:, 2:18] if shape == (16, 21) else pixels[2:18]
    assert (fit(pixels, data_options("unused"))[..., 0] == expected).all()


def test_box_is_the_mean_of_blocks() -> None:
    pixels = noise(16, 64, 64)
    expected = pixels.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    assert np.abs(fit(pixels, data_options("unused", resizer="box"))[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("resizer", RESIZERS)
def test_shrinking_is_antialiased(resizer: str) -> None:
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    fitted = fit(board, data_options("unused", resizer=resizer))
    assert np.abs(fitted[2:-2, 2:-2].astype(float) - 127.5).max() <= 3


def test_colours_are_weighted_by_alpha_when_resized() -> None:
    rgba = noise(33, 64, 64, 4)
    rgba[..., 3] |= 64
    weights = rgba[..., 3].astype(float)
    blocks = (rgba[..., :3] * weights[..., None]).reshape(16, 4, 16, 4, 3).sum(axis=(1, 3))
    totals = weights.reshape(16, 4, 16, 4).sum(axis=(1, 3))
    fitted = fit(rgba, data_options("unused", channels=4, resizer="box")).astype(float)
    assert np.abs(fitted[..., 3] - totals / 16).max() <= 1
    # Rounding of the premultiplied 8 bits, at the least alpha.
    assert np.abs(fitted[..., :3] - blocks / totals[..., None]).max() <= 4


@pytest.mark.parametrize("resizer", RESIZERS)
@pytest.mark.parametrize("how", ["crop", "pad"])
def test_hidden_colours_do_not_bleed(resizer: str, how: str) -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :30] = 255, 0, 0, 255
    rgba[:, 30:] = 0, 255, 0, 0
    fitted = fit(rgba, data_options("unused", channels=4, resizer=resizer, fit=how))
    assert (fitted[..., 1:3] == 0).all()
    assert (fitted[:, 0] == (255, 0, 0, 255)).all()
    assert (fitted[:, -1] == 0).all()


@pytest.mark.parametrize(
    ("stored", "channels", "border"),
    [
        (1, 1, GREY_OF_BACKGROUND),
        (3, 1, GREY_OF_BACKGROUND),
        (1, 3, BACKGROUND),
        (4, 3, BACKGROUND),
        (3, 4, 0),
        (4, 4, 0),
    ],
)
def test_padding(stored: int, channels: int, border: Any) -> None:
    pixels = noise(50, 8, 32) if stored == 1 else noise(50, 8, 32, stored)
    options = data_options("unused", channels=channels, fit="pad", background=BACKGROUND)
    fitted = fit(pixels, options)
    assert fitted.shape == (16, 16, channels)
    assert (fitted[:6] == border).all()
    assert (fitted[10:] == border).all()
    shown = Image.fromarray(pixels)
    if stored == 4 and channels == 3:
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, (*BACKGROUND, 255)), shown)
    shown = shown.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]).resize((16, 4), RESIZERS["bicubic"])
    expected = np.array(shown).reshape(4, 16, channels)
    if channels == 4:
        expected[expected[..., 3] == 0] = 0
    assert (fitted[6:10] == expected).all()
    upright = fit(np.ascontiguousarray(pixels.swapaxes(0, 1)), options)
    assert (upright[:, :6] == border).all()
    assert (upright[:, 10:] == border).all()


def test_padding_takes_no_more_memory_for_a_long_line() -> None:
    options = data_options("unused", channels=3, fit="pad")
    fitted = fit(noise(51, 1, 200_000, 3), options)
    assert fitted.shape == (16, 16, 3)
    assert (fitted[[*range(7), *range(8, 16)]] == 0).all()


def test_what_fits_already_is_not_touched() -> None:
    for channels, pixels in ((1, noise(52)), (3, noise(53, 16, 16, 3))):
        for how in ("crop", "pad", "tile"):
            fitted = fit(pixels, data_options("unused", channels=channels, fit=how))
            assert (fitted.reshape(pixels.shape) == pixels).all()


def test_tiles_are_cut_at_full_resolution_around_the_centre() -> None:
    pixels = noise(54, 37, 52, 3)
    fitted = fit(pixels, data_options("unused", channels=3, fit="tile"))
    assert (fitted == pixels[2:34, 2:50]).all()
    tiles = squares(fitted, 16)
    assert len(tiles) == 6
    for index, tile in enumerate(tiles):
        row, column = divmod(index, 3)
        assert tile.flags.c_contiguous
        assert (tile == pixels[2 + 16 * row : 18 + 16 * row, 2 + 16 * column : 18 + 16 * column]).all()


def test_what_is_smaller_than_a_tile_is_cropped() -> None:
    pixels = noise(55, 15, 40, 3)
    tiled, cropped = (fit(pixels, data_options("unused", channels=3, fit=how)) for how in ("tile", "crop"))
    assert (tiled == cropped).all()
    assert len(squares(tiled, 16)) == 1
