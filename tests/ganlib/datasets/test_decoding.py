"""Pixels of every kind of file against values worked out with numpy alone."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ganlib.datasets.decoding import decode
from ganlib.datasets.sources import Unreadable
from tests.ganlib.datasets.image_files import data_options, encode, noise

Pixels = NDArray[Any]
GREY = data_options("unused")
COLOUR = data_options("unused", channels=3)
ALPHA = data_options("unused", channels=4)


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


def test_colours_are_weighted_by_alpha_when_resized() -> None:
    rgba = noise(33, 64, 64, 4)
    rgba[..., 3] |= 64
    weights = rgba[..., 3].astype(float)
    blocks = (rgba[..., :3] * weights[..., None]).reshape(16, 4, 16, 4, 3).sum(axis=(1, 3))
    totals = weights.reshape(16, 4, 16, 4).sum(axis=(1, 3))
    decoded = decode(encode(rgba), data_options("unused", channels=4, resizer="box")).astype(float)
    assert np.abs(decoded[..., 3] - totals / 16).max() <= 1
    # Rounding of the premultiplied 8 bits, at the least alpha.
    assert np.abs(decoded[..., :3] - blocks / totals[..., None]).max() <= 4


@pytest.mark.parametrize("resizer", ["box", "bilinear", "bicubic", "lanczos"])
def test_hidden_colours_do_not_bleed(resizer: str) -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :30] = 255, 0, 0, 255
    rgba[:, 30:] = 0, 255, 0, 0
    decoded = decode(encode(rgba), data_options("unused", channels=4, resizer=resizer))
    assert (decoded[..., 1:3] == 0).all()
    assert (decoded[:, 0] == (255, 0, 0, 255)).all()
    assert (decoded[:, -1] == 0).all()


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


def test_centre_square() -> None:
    for pixels, expected in (
        (noise(14, 16, 21), lambda p: p[:, 2:18]),
        (noise(15, 20, 16), lambda p: p[2:18]),
    ):
        assert (decode(encode(pixels), GREY)[..., 0] == expected(pixels)).all()


def test_box_is_the_mean_of_blocks() -> None:
    pixels = noise(16, 64, 64)
    expected = pixels.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    decoded = decode(encode(pixels), data_options("unused", resizer="box"))
    assert np.abs(decoded[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("resizer", ["box", "bilinear", "bicubic", "lanczos"])
def test_shrinking_is_antialiased(resizer: str) -> None:
    board = np.indices((128, 128)).sum(axis=0) % 2 * np.uint8(255)
    decoded = decode(encode(board.astype(np.uint8)), data_options("unused", resizer=resizer))
    assert np.abs(decoded[2:-2, 2:-2].astype(float) - 127.5).max() <= 3


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (40, 200)]
    assert (decode(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]), GREY) == 40).all()


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


JPEG = encode(noise(17, 64, 64, 3), "JPEG")
BAD_FILES = {
    "empty": (b"", "empty"),
    "text": (b"no image at all", "not an image"),
    "html": (b"<html><body>404</body></html>", "not an image"),
    "zeros": (bytes(1000), "not an image"),
    "truncated png": (encode(noise(18, 64, 64))[:2000], "damaged"),
    "truncated jpeg": (JPEG[: len(JPEG) // 2], "damaged"),
    "png header only": (encode(noise(19))[:30], "not an image"),
    "truncated tiff": (encode(noise(20, 64, 64), "TIFF")[:600], "damaged"),
    "truncated webp": (encode(noise(21, 64, 64), "WEBP")[:500], "damaged"),
    "truncated bmp": (encode(noise(22, 64, 64), "BMP")[:1500], "damaged"),
    "bomb": (png_claiming(60000, 60000), "max_pixels"),
    "bomb just over": (encode(Image.new("1", (317, 317))), "max_pixels"),
    "32 bit": (encode(np.ones((16, 16), np.int32), "TIFF"), "32 bits"),
    "float": (encode(np.ones((16, 16), np.float32), "TIFF"), "32 bits"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_have_a_reason(name: str) -> None:
    content, fragment = BAD_FILES[name]
    with pytest.raises(Unreadable) as caught:
        decode(content, GREY)
    reason = str(caught.value)
    assert fragment in reason
    assert reason.isprintable()
    assert " at 0x" not in reason


def test_limits_leave_no_trace() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(Unreadable):
        decode(BAD_FILES["bomb"][0], GREY)
    assert before == Image.MAX_IMAGE_PIXELS
    assert (decode(encode(Image.new("L", (316, 316))), GREY) == 0).all()


def test_pillows_warnings_decide_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(noise(23), "JPEG", exif=exif.tobytes()[:20], quality=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lenient = np.asarray(Image.open(io.BytesIO(content)))
    assert (decode(content, GREY)[..., 0] == lenient).all()
