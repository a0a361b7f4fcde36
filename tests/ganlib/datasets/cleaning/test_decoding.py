"""Pixels of every kind of file against values worked out with numpy alone."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ganlib.config import DataOptions
from ganlib.datasets.cleaning import opencv
from ganlib.datasets.cleaning.headers import scan
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.files.formats import format_of
from ganlib.datasets.items import Item
from tests.ganlib.datasets.hostile_files import P3
from tests.ganlib.datasets.image_bytes import chunk, exif, png, tiff, without
from tests.ganlib.datasets.image_files import data_options, encode, noise

Pixels = NDArray[Any]
EVERYTHING = {"cleaning": {"min_std": 0}}
GREY = data_options("unused", **EVERYTHING)
COLOUR = data_options("unused", channels=3, **EVERYTHING)
ALPHA = data_options("unused", channels=4, **EVERYTHING)


def decode(content: bytes, options: DataOptions) -> NDArray[np.uint8]:
    cleaned = clean(Item("image", "image", None, None, content), options)
    assert cleaned.pixels, cleaned.findings
    return cleaned.pixels[0]


def test_plain_images_come_back_unchanged() -> None:
    grey, colour = noise(0), noise(1, 16, 16, 3)
    assert (decode(encode(grey), GREY)[..., 0] == grey).all()
    assert (decode(encode(grey), COLOUR) == grey[..., None]).all()
    assert (decode(encode(colour), COLOUR) == colour).all()
    for image_format in ("BMP", "TIFF", "PPM"):
        assert (decode(encode(colour, image_format), COLOUR) == colour).all()
    assert (decode(encode(colour, "WEBP", lossless=True), COLOUR) == colour).all()


def test_colour_to_grey_uses_the_bt601_weights() -> None:
    colour = noise(2, 16, 16, 3)
    expected = colour.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(decode(encode(colour), GREY)[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_greys_are_scaled_not_clipped(image_format: str) -> None:
    wide = np.random.default_rng(3).integers(0, 65536, (16, 16)).astype(np.uint16)
    wide[0, :3] = 0, 255, 65535
    if image_format == "PPM":
        content = b"P5 16 16 65535\n" + wide.astype(">u2").tobytes()
    else:
        content = encode(wide, image_format)
    assert (decode(content, GREY)[..., 0] == np.rint(wide / 257)).all()
    assert (decode(content, COLOUR) == np.rint(wide / 257)[..., None]).all()


def test_big_endian_16_bit_tiff() -> None:
    wide = np.random.default_rng(4).integers(0, 65536, (16, 16)).astype(np.uint16)
    content = encode(Image.frombytes("I;16B", (16, 16), wide.astype(">u2").tobytes()), "TIFF")
    assert (decode(content, GREY)[..., 0] == np.rint(wide / 257)).all()


def test_alpha_is_laid_on_black() -> None:
    rgba = noise(5, 16, 16, 4)
    rgba[0, :2, 3] = 0, 255
    expected = rgba[..., :3] * (rgba[..., 3:] / 255)
    assert np.abs(decode(encode(rgba), COLOUR) - expected).max() <= 1
    grey_alpha = noise(6, 16, 16, 2)
    expected = grey_alpha[..., 0] * (grey_alpha[..., 1] / 255)
    assert np.abs(decode(encode(grey_alpha), GREY)[..., 0] - expected).max() <= 1


def test_palette_with_and_without_transparency() -> None:
    colours, indices = noise(7, 256, 3), noise(8)
    image = Image.fromarray(indices).convert("L")
    palette = Image.frombytes("P", (16, 16), image.tobytes())
    palette.putpalette(colours.tobytes())
    assert (decode(encode(palette), COLOUR) == colours[indices]).all()
    hidden = int(indices[0, 0])
    expected = colours[indices] * (indices != hidden)[..., None]
    assert (decode(encode(palette, transparency=hidden), COLOUR) == expected).all()


def test_transparent_colour_key_is_black() -> None:
    grey = noise(9)
    key = int(grey[0, 0])
    assert (decode(encode(grey, transparency=key), GREY)[..., 0] == np.where(grey == key, 0, grey)).all()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_alpha_is_kept_and_hidden_colours_are_not(image_format: str) -> None:
    rgba = noise(24, 16, 16, 4)
    rgba[0, :3, 3] = 0, 1, 255
    expected = np.where(rgba[..., 3:] == 0, 0, rgba)
    decoded = decode(encode(rgba, image_format), ALPHA)
    assert decoded.dtype == np.uint8
    assert (decoded == expected).all()


def test_other_kinds_of_transparency_become_alpha() -> None:
    grey_alpha = noise(25, 16, 16, 2)
    expected = np.concatenate([np.repeat(grey_alpha[..., :1], 3, axis=2), grey_alpha[..., 1:]], axis=2)
    assert (decode(encode(grey_alpha), ALPHA) == np.where(expected[..., 3:] == 0, 0, expected)).all()
    colour = noise(26, 16, 16, 3)
    key = colour[0, 0]
    visible = (colour != key).any(axis=2, keepdims=True)
    expected = np.concatenate([colour * visible, visible * np.uint8(255)], axis=2)
    assert (decode(encode(colour, transparency=tuple(map(int, key))), ALPHA) == expected).all()
    palette = Image.fromarray(noise(27) % 4).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    table = np.array([[0, 0, 0, 0], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 255]])
    assert (decode(encode(palette, transparency=0), ALPHA) == table[np.asarray(palette)]).all()


def test_what_has_no_alpha_is_opaque() -> None:
    colour = noise(28, 16, 16, 3)
    wide = np.random.default_rng(29).integers(0, 65536, (16, 16)).astype(np.uint16)
    inks = Image.frombytes("CMYK", (16, 16), noise(30, 16, 16, 4).tobytes())
    for content in (encode(colour), encode(noise(31)), encode(wide), encode(inks, "TIFF"), encode(noise(32) > 127)):
        decoded = decode(content, ALPHA)
        assert (decoded[..., 3] == 255).all()
        assert (decoded[..., :3] == decode(content, COLOUR)).all()


def test_cmyk() -> None:
    inks = noise(10, 16, 16, 4)
    content = encode(Image.frombytes("CMYK", (16, 16), inks.tobytes()), "TIFF")
    expected = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    assert np.abs(decode(content, COLOUR) - expected).max() <= 1


def test_black_and_white() -> None:
    bits = noise(11) > 127
    assert (decode(encode(bits), GREY)[..., 0] == bits * np.uint8(255)).all()


# EXIF 2.3, tag Orientation: what has to be done to the stored pixels to see them upright.
UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, k=-1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, k=1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_tag(orientation: int) -> None:
    stored = noise(12, 16, 16, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (decode(encode(stored, exif=exif), COLOUR) == UPRIGHT[orientation](stored)).all()
    seen = noise(34, 16, 16, 4) | np.uint8(1)
    assert (decode(encode(seen, exif=exif), ALPHA) == UPRIGHT[orientation](seen)).all()
    wide = np.random.default_rng(13).integers(0, 65536, (16, 16)).astype(np.uint16)
    assert (decode(encode(wide, exif=exif), GREY)[..., 0] == np.rint(UPRIGHT[orientation](wide) / 257)).all()


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (40, 200)]
    assert (decode(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]), GREY) == 40).all()


def photo(seed: int, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Smooth shapes and a little noise, so that every part of a decoder has work to do."""
    coarse = noise(seed, -(-height // 8), -(-width // 8), 3)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    rough = np.random.default_rng(seed).integers(-9, 10, (height, width, 3))
    colours = np.clip(smooth + rough, 0, 255).astype(np.uint8)
    if channels == 4:
        return np.concatenate([colours, noise(seed + 1, height, width, 1)], axis=2)
    return colours if channels == 3 else np.ascontiguousarray(colours[..., 0])


SIZES = [(1, 1), (1, 2), (7, 9), (16, 16), (17, 15), (1, 64), (64, 1), (99, 101), (120, 160)]


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


def by_opencv(content: bytes) -> NDArray[np.uint8]:
    header = scan(content, format_of("", content))
    assert header is not None
    assert header.mode
    assert header.plain
    assert header.complete
    pixels = opencv.decode(content, header.mode)
    assert pixels is not None
    assert pixels.shape[:2] == (header.height, header.width)
    return pixels


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_both_decoders_agree_on_jpeg(size: tuple[int, int], channels: int) -> None:
    for quality in (30, 75, 95):
        for subsampling in (0, 1, 2) if channels == 3 else (0,):
            for progressive in (False, True):
                for restart in ({}, {"restart_marker_blocks": 1}):
                    how: dict[str, Any] = {"quality": quality, "progressive": progressive, **restart}
                    content = encode(photo(quality, *size, channels), "JPEG", subsampling=subsampling, **how)
                    assert np.array_equal(by_opencv(content), by_pillow(content)), how


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_decoders_agree_on_png(size: tuple[int, int], channels: int) -> None:
    pixels = photo(35, *size, channels)
    for content in (encode(pixels), encode(pixels, optimize=True), encode(pixels, dpi=(72, 72))):
        assert np.array_equal(by_opencv(content), pixels)
        assert np.array_equal(by_pillow(content), pixels)


def test_the_careful_path_gives_jpeg_pixels_of_pillow() -> None:
    pixels = photo(36, 48, 48, 3)
    content = encode(pixels, "JPEG", exif=exif(1))
    expected = Image.open(io.BytesIO(content)).resize((16, 16), Image.Resampling.BICUBIC)
    assert (decode(content, COLOUR) == np.asarray(expected)).all()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("container", ["png", "tiff", "big-endian tiff"])
def test_16_bit_colours_are_rounded(container: str, channels: int) -> None:
    wide = np.random.default_rng(37).integers(0, 65536, (16, 16, channels)).astype(np.uint16)
    wide[0, :3] = np.array([0, 128, 65535])[:, None]
    if container == "png":
        content = png(wide, bits=16, colour={3: 2, 4: 6}[channels])
    else:
        content = tiff(wide, big_endian=container.startswith("big"), changes={338: 2} if channels == 4 else {})
    expected = np.rint(wide / 257).astype(np.uint8)
    if channels == 4:
        expected[expected[..., 3] == 0] = 0
    assert (decode(content, ALPHA)[..., :channels] == expected).all()


def test_16_bit_key_colours() -> None:
    wide = np.random.default_rng(38).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    wide[1, 1] = wide[0, 0]
    for pixels, colour in ((wide, 2), (wide[..., 0], 0)):
        key = struct.pack(">" + "H" * (3 if colour == 2 else 1), *np.atleast_1d(pixels[0, 0]).tolist())
        decoded = decode(png(pixels, bits=16, colour=colour, extra=chunk(b"tRNS", key)), ALPHA)
        hidden = (pixels.reshape(16, 16, -1) == pixels[0, 0]).all(axis=2)
        assert hidden.sum() >= 2
        assert ((decoded[..., 3] == 0) == hidden).all()
        shown = np.rint(pixels.reshape(16, 16, -1) / 257) * ~hidden[..., None]
        assert (decoded[..., :3] == shown).all()


def test_white_can_be_zero_in_tiff() -> None:
    wide = np.random.default_rng(39).integers(0, 65536, (16, 16)).astype(np.uint16)
    assert (decode(tiff(wide, changes={262: 0}), GREY)[..., 0] == np.rint((65535 - wide.astype(int)) / 257)).all()
    assert (decode(tiff(noise(40), changes={262: 0}), GREY)[..., 0] == 255 - noise(40)).all()


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("policy", ["keep", "fix"])
def test_orientation_of_tiff_and_jpeg(orientation: int, policy: str) -> None:
    options = data_options("unused", channels=3, policy={"orientation": policy}, **EVERYTHING)
    expected = UPRIGHT[orientation] if policy == "fix" else UPRIGHT[1]
    stored = noise(41, 16, 16, 3)
    assert (decode(tiff(stored, changes={274: orientation}), options) == expected(stored)).all()
    wide = np.random.default_rng(42).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    assert (decode(tiff(wide, changes={274: orientation}), options) == np.rint(expected(wide) / 257)).all()
    plain = encode(stored, "JPEG", quality=100, subsampling=0)
    turned = encode(stored, "JPEG", quality=100, subsampling=0, exif=exif(orientation))
    assert (decode(turned, options) == expected(decode(plain, options))).all()


def test_profiles_are_converted_to_srgb() -> None:
    """Against the matrices of Display P3 and sRGB, for colours that both can show."""
    linear = np.random.default_rng(43).uniform(0.2, 0.6, (16, 16, 3))
    stored = np.rint(255 * linear ** (1 / 2.2)).astype(np.uint8)
    # Display P3 to sRGB, both with the white of D65 and so the same after adaptation to D50.
    matrix = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0196, -0.0786, 1.0979]])
    light = (stored / 255) ** 2.2 @ matrix.T
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.abs(light) ** (1 / 2.4) - 0.055)
    decoded = decode(encode(stored, icc_profile=P3), COLOUR)
    inside = (light >= 0).all(axis=2) & (light <= 1).all(axis=2)
    assert inside.mean() > 0.5
    assert np.abs(decoded[inside] - expected[inside]).max() <= 2.5
    kept = data_options("unused", channels=3, policy={"colour_profile": "keep"}, **EVERYTHING)
    assert (decode(encode(stored, icc_profile=P3), kept) == stored).all()


def test_cmyk_jpeg_with_and_without_adobes_marker() -> None:
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0], inks[..., 3] = 200, 50
    content = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    expected = (255.0 - inks[0, 0, :3]) * (255.0 - inks[0, 0, 3]) / 255
    assert np.abs(decode(content, COLOUR) - expected).max() <= 2
    assert np.abs(decode(without(content, 0xEE), COLOUR) - expected).max() <= 2


def test_truncated_files_can_be_used_as_far_as_they_go() -> None:
    options = data_options("unused", channels=3, policy={"truncated": "fix"}, **EVERYTHING)
    pixels = photo(44, 16, 16, 3)
    for image_format in ("PNG", "BMP", "TIFF", "PPM"):
        content = encode(pixels, image_format)
        cleaned = clean(Item("image", "image", None, None, content[: len(content) * 2 // 3]), options)
        assert [(finding.kind, finding.action) for finding in cleaned.findings] == [("truncated", "fix")]
        rows = cleaned.pixels[0][::-1] if image_format == "BMP" else cleaned.pixels[0]
        assert (rows[:6] == (pixels[::-1] if image_format == "BMP" else pixels)[:6]).all()
    content = encode(pixels, "JPEG")
    assert decode(content[:-2], options).tolist() == decode(content, options).tolist()
    cut = clean(Item("image", "image", None, None, encode(pixels, "WEBP")[:100]), options)
    assert [(finding.kind, finding.action) for finding in cut.findings] == [("truncated", "fix"), ("damaged", "drop")]
