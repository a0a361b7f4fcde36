"""Large images in tiles."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from ganlib.config import ImageSpec, InputsOptions
from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator
from ganlib.translating import translate_image
from tests.ganlib.networks.test_unet import generator, options


def translator(**inputs) -> ImageGenerator:
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
