"""Marks in PNG files, and images made again from them."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from ganlib.config import ImageSpec
from ganlib.errors import UserError
from ganlib.marking import SOURCE_TYPE, Origin, marked_png, pixels_sha256, read_origin, xmp_packet
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from ganlib.remaking import remake
from ganlib.sampling import image_grid
from tests.configs import tiny_config

ORIGIN = Origin("ab" * 32, {"seed": 3, "label": "<&> é", "index": 0})


@pytest.fixture(scope="module")
def generator() -> ImageGenerator:
    network = tiny_config({}).network
    image = ImageSpec(size=16, channels=3, classes=("ant", "bee", "cat"))
    torch.manual_seed(0)
    return ImageGenerator(build_generator(network, image), network, image, {"seen_images": 1})


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_mark_comes_back_and_leaves_the_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    file = marked_png(pixels, ORIGIN)
    assert file == marked_png(pixels, ORIGIN)
    assert f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}<".encode() in file
    with Image.open(io.BytesIO(file)) as opened:
        assert read_origin(opened) == ORIGIN
        found = np.asarray(opened).reshape(pixels.shape)
    np.testing.assert_array_equal(found, pixels)
    assert pixels_sha256(found) == pixels_sha256(pixels)
    assert pixels_sha256(pixels) != pixels_sha256(pixels.reshape(7, 5, channels))
    info, by_pillow = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt("XML:com.adobe.xmp", xmp_packet(ORIGIN))
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(by_pillow, format="PNG", pnginfo=info)
    assert file == by_pillow.getvalue()


@pytest.mark.parametrize(
    "packet",
    [
        "", "no xml", "<x:xmpmeta", "<x:xmpmeta></x:xmpmeta>",
        '<!DOCTYPE a [<!ENTITY b "c">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&b;</x:xmpmeta>',
        '<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:g="urn:ganlib:xmp:1"><g:request>[1]</g:request></x:xmpmeta>',
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">' + "a" * 70_000 + "</x:xmpmeta>",
    ],
)  # fmt: skip
def test_what_is_no_mark_says_nothing(packet: str) -> None:
    image = Image.new("L", (2, 2))
    image.info["XML:com.adobe.xmp"] = packet
    assert read_origin(image) is None


def test_images_are_made_again(generator: ImageGenerator) -> None:
    drawn = generator.sample(seed=3, count=7, truncation=0.5)
    asked: dict[str, Any] = {"seed": 3, "truncation": 0.5}
    np.testing.assert_array_equal(remake(generator, {**asked, "index": 4, "label": "bee"}), drawn[4])
    grid = {"count": 7, "columns": 3, "scale": 2}
    np.testing.assert_array_equal(remake(generator, asked | grid), image_grid(drawn, columns=3, scale=2))
    ends = [remake(generator, {"seed": 1, "toward_seed": 2, "mix": mix, "index": 0}) for mix in (0.0, 0.5, 1.0)]
    np.testing.assert_array_equal(ends[0], remake(generator, {"seed": 1, "index": 0}))
    assert (ends[1] != ends[0]).any()
    assert (ends[1] != ends[2]).any()


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({}, "Field required"),
        ({"seed": 1}, "give index, or count"),
        ({"seed": 1, "index": 0, "count": 4}, "give index, or count"),
        ({"seed": 1, "index": 0, "mix": 0.5}, "toward_seed and mix together"),
        ({"seed": 1, "index": 1e9}, "less than"),
        ({"seed": 1, "index": 0, "label": "dog"}, "label dog: unknown, expected one of ant"),
        ({"seed": 1, "index": 0, "truncation": 0.0}, "truncation: found 0.0, expected"),
        ({"seed": "a", "index": 0}, "valid integer"),
    ],
)
def test_impossible_requests_are_one_line(generator: ImageGenerator, request_: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        remake(generator, request_)
