"""Damaged, unusual and hostile image files, made byte by byte, and what cleaning has to find in each.

The policies are those of the preset; images are colourful noise, for 3 channels.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.ganlib.datasets.image_bytes import (
    PNG_START,
    bad_checksum,
    chunk,
    exif,
    flipped,
    icc_profile,
    jpeg_of,
    png,
    segments,
    tiff,
    with_frame,
    with_segment,
    without,
)
from tests.ganlib.datasets.image_files import encode, noise

SIZE = 24
COLOUR = noise(100, SIZE, SIZE, 3)
GREY = noise(101, SIZE, SIZE)


@dataclass(frozen=True)
class Hostile:
    """A file, and the kinds of findings with what is done about each, in their order."""

    name: str
    content: bytes
    expected: tuple[tuple[str, str], ...]


# D50-adapted primaries of Display P3.
P3 = icc_profile(
    ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)), 2.2, "like Display P3"
)
GREY_PROFILE = icc_profile((), 1.0, "linear grey", space=b"GRAY")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

JPEG = encode(COLOUR, "JPEG", quality=90)
PROGRESSIVE = encode(COLOUR, "JPEG", quality=90, progressive=True)
PNG = encode(COLOUR)
GIF = encode(Image.fromarray(COLOUR).quantize(64), "GIF")
WEBP = encode(COLOUR, "WEBP", lossless=True)
TIFF = encode(COLOUR, "TIFF")
BMP = encode(COLOUR, "BMP")
PPM = encode(COLOUR, "PPM")
CMYK = encode(Image.fromarray(noise(102, SIZE, SIZE, 4), "CMYK"), "JPEG")

EMPTY = (("empty", "drop"),)
NOT_AN_IMAGE = (("not_an_image", "drop"),)
DAMAGED = (("damaged", "drop"),)
TRUNCATED = (("truncated", "drop"),)
TOO_LARGE = (("too_large", "drop"),)
WRONG_EXTENSION = ("wrong_extension", "keep")
GREYSCALE = ("greyscale", "keep")
NOTHING: tuple[tuple[str, str], ...] = ()


def corpus() -> Iterator[Hostile]:
    """All of them."""
    for rows in (
        _no_images(),
        _wrong_names(),
        _cut_short(),
        _bombs(),
        _broken_png(),
        _broken_jpeg(),
        _broken_others(),
        _unusual_colours(),
        _unusual_layouts(),
        _orientations(),
        _profiles(),
        _odd_pictures(),
    ):
        for name, content, expected in rows:
            yield Hostile(name, content, expected)


Rows = Iterator[tuple[str, bytes, tuple[tuple[str, str], ...]]]


def _no_images() -> Rows:
    yield "nothing.png", b"", EMPTY
    yield "text.png", b"no image at all, however long one looks at it", NOT_AN_IMAGE
    yield "zeros.jpg", bytes(1000), NOT_AN_IMAGE
    yield "not-found.jpg", b"<!DOCTYPE html><html><body>404 not found</body></html>", NOT_AN_IMAGE
    yield "drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', NOT_AN_IMAGE
    yield "document.jpg", b"%PDF-1.7\n", NOT_AN_IMAGE
    yield "script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n", NOT_AN_IMAGE
    yield "archive.png", b"PK\x03\x04" + bytes(60), NOT_AN_IMAGE
    yield "packed.jpg", b"\x1f\x8b\x08" + bytes(60), NOT_AN_IMAGE
    yield "phone.jpg", b"\0\0\0\x18ftypheic" + bytes(60), NOT_AN_IMAGE
    yield "letters.bmp", b"BMW is no bitmap, but begins like one", NOT_AN_IMAGE
    yield "float.tif", tiff(noise(103).astype(np.float32)), NOT_AN_IMAGE
    yield "integers.tif", tiff(noise(104).astype(np.int32)), NOT_AN_IMAGE


def _wrong_names() -> Rows:
    yield "really-png.jpg", PNG, (WRONG_EXTENSION,)
    yield "really-jpeg.png", JPEG, (WRONG_EXTENSION,)
    yield "really-webp.jpeg", WEBP, (WRONG_EXTENSION,)
    yield "really-gif.png", GIF, (WRONG_EXTENSION, ("palette", "fix"))
    yield "really-jpeg.HEIC", JPEG, (WRONG_EXTENSION,)
    yield "CAPITALS.JPG", JPEG, NOTHING
    yield "no suffix", JPEG, NOTHING
    yield "two.png.suffixes.v2", JPEG, NOTHING


def _cut_short() -> Rows:
    for name, content, at in (
        ("png-in-signature", PNG, 9),
        ("png-in-header", PNG, 25),
        ("png-half", PNG, len(PNG) // 2),
        ("png-without-end", PNG, len(PNG) - 12),
        ("png-in-last-checksum", PNG, len(PNG) - 1),
        ("jpeg-three-bytes", JPEG, 3),
        ("jpeg-in-tables", JPEG, 120),
        ("jpeg-before-scan", JPEG, JPEG.index(b"\xff\xda")),
        ("jpeg-half", JPEG, len(JPEG) * 2 // 3),
        ("jpeg-without-end", JPEG, len(JPEG) - 2),
        ("progressive-half", PROGRESSIVE, len(PROGRESSIVE) * 2 // 3),
        ("cmyk-half", CMYK, len(CMYK) * 2 // 3),
        ("webp-half", WEBP, len(WEBP) // 2),
        ("tiff-half", TIFF, len(TIFF) // 2),
        ("bmp-half", BMP, len(BMP) // 2),
        ("ppm-half", PPM, len(PPM) // 2),
    ):
        suffix = name.split("-")[0].replace("progressive", "jpeg").replace("cmyk", "jpeg")
        # Of CMYK one knows before one knows that the file ends early.
        yield f"{name}.{suffix}", content[:at], TRUNCATED
    lzw = encode(COLOUR, "TIFF", compression="tiff_lzw")
    yield "tiff-before-directory.tif", lzw[: len(lzw) // 2], TRUNCATED
    yield "gif-half.gif", GIF[: len(GIF) // 2], (("palette", "fix"), *TRUNCATED)
    yield "gif-in-header.gif", GIF[:9], DAMAGED
    yield "bmp-in-header.bmp", BMP[:20], TRUNCATED
    yield "ppm-in-header.ppm", b"P6 24 ", DAMAGED


def _bombs() -> Rows:
    zeros = zlib.compress(bytes(80_000_000), 9)
    rows = b"".join(b"\0" + row.tobytes() for row in COLOUR)
    yield "huge.png", png(COLOUR, size=(50_000, 50_000)), TOO_LARGE
    yield "widest.png", png(COLOUR, size=(1, 2**31 - 1)), TOO_LARGE
    yield "much-data.png", png(COLOUR, packed=zlib.compress(rows + bytes(80_000_000))), NOTHING
    yield "text-bomb.png", png(COLOUR, extra=chunk(b"zTXt", b"Comment\0\0" + zeros)), DAMAGED
    yield "long-text-bomb.png", png(COLOUR, extra=chunk(b"iTXt", b"XML\0\1\0\0\0" + zeros)), DAMAGED
    yield "profile-bomb.png", png(COLOUR, extra=chunk(b"iCCP", b"icc\0\0" + zeros)), DAMAGED
    yield "huge.jpg", with_frame(JPEG, height=65_500, width=65_500), TOO_LARGE
    yield "huge-screen.gif", GIF[:6] + struct.pack("<HH", 65_535, 65_535) + GIF[10:], TOO_LARGE
    yield "huge.bmp", BMP[:18] + struct.pack("<ii", 2**30, 2**30) + BMP[26:], TOO_LARGE
    yield "huge.ppm", b"P6 99999 99999 255\n" + bytes(100), TOO_LARGE
    yield "huge.tif", tiff(COLOUR, changes={256: 60_000, 257: 60_000}), TOO_LARGE
    canvas = struct.pack("<I", 0x10) + (16_382).to_bytes(3, "little") + (16_382).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + canvas + WEBP[12:]
    yield "huge-canvas.webp", b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended, DAMAGED
    # VP8L: 14 bits each of width - 1 and height - 1.
    yield "huge.webp", WEBP[:21] + struct.pack("<I", 2**28 - 1) + WEBP[25:], TOO_LARGE


def _broken_png() -> Rows:
    for name in (b"IHDR", b"IDAT", b"IEND"):
        yield f"checksum-of-{name.decode()}.png", bad_checksum(PNG, name), DAMAGED
    text = png(COLOUR, extra=chunk(b"tEXt", b"Comment\0hello"))
    yield "checksum-of-tEXt.png", bad_checksum(text, b"tEXt"), DAMAGED
    header, end = PNG[8:33], chunk(b"IEND", b"")
    yield "no-pixels.png", PNG_START + header + end, DAMAGED
    yield "no-header.png", PNG_START + chunk(b"IDAT", zlib.compress(bytes(100))) + end, DAMAGED
    yield "nothing-wide.png", png(COLOUR, size=(24, 0)), DAMAGED
    yield "three-bits.png", png(COLOUR, bits=3), DAMAGED
    yield "unknown-colours.png", png(COLOUR, colour=5), DAMAGED
    yield "no-palette.png", png(GREY, colour=3), (("palette", "fix"), *DAMAGED)
    rows = b"".join(b"\0" + row.tobytes() for row in COLOUR)
    yield "few-rows.png", png(COLOUR, packed=zlib.compress(rows[:500])), DAMAGED
    yield "not-packed.png", png(COLOUR, packed=rows), DAMAGED
    yield "adler.png", png(COLOUR, packed=flipped(zlib.compress(rows), -1)), DAMAGED
    yield "filter.png", png(COLOUR, filter_type=9), DAMAGED
    yield "long-chunk.png", PNG_START + struct.pack(">I", 2**32 - 1) + PNG[12:], TRUNCATED
    yield "after-the-end.png", PNG + b"appended" * 100, NOTHING


def _broken_jpeg() -> Rows:
    yield "only-ends.jpg", b"\xff\xd8\xff\xd9", TRUNCATED
    yield "taller.jpg", with_frame(JPEG, height=2 * SIZE), DAMAGED
    yield "wider.jpg", with_frame(JPEG, width=2 * SIZE), DAMAGED
    yield "lower.jpg", with_frame(JPEG, height=SIZE // 3), DAMAGED
    yield "no-height.jpg", with_frame(JPEG, height=0), DAMAGED
    yield "twelve-bits.jpg", with_frame(JPEG, bits=12), DAMAGED
    yield "no-quantisation.jpg", without(JPEG, 0xDB), DAMAGED
    yield "no-frame.jpg", without(JPEG, 0xC0), DAMAGED
    yield "lost-bytes.jpg", JPEG[:-400] + JPEG[-100:], DAMAGED
    yield "zeroed.jpg", JPEG[: len(JPEG) * 2 // 3] + bytes(len(JPEG) // 4) + b"\xff\xd9", DAMAGED
    yield "half-with-end.jpg", JPEG[: len(JPEG) * 2 // 3] + b"\xff\xd9", DAMAGED
    yield "progressive-with-end.jpg", PROGRESSIVE[: len(PROGRESSIVE) // 2] + b"\xff\xd9", DAMAGED
    yield "padded.jpg", JPEG[:-2] + bytes(3) + b"\xff\xd9", NOTHING
    yield "after-the-end.jpg", JPEG + b"PK\x03\x04" + bytes(5000), NOTHING
    yield "exif-garbage.jpg", with_segment(JPEG, 0xE1, b"Exif\0\0" + noise(105, 300).tobytes()), NOTHING
    yield "exif-cut.jpg", with_segment(JPEG, 0xE1, exif(6)[:16]), NOTHING


def _broken_others() -> Rows:
    yield "no-frames.gif", GIF[:13] + b";", DAMAGED
    yield "codes.gif", GIF[:-300] + bytes(100) + GIF[-200:], (("palette", "fix"), *TRUNCATED)
    yield "chunks.webp", flipped(WEBP, 12), DAMAGED
    yield "pixels.webp", WEBP[:40] + bytes(len(WEBP) - 40), DAMAGED
    yield "upwards.bmp", BMP[:22] + struct.pack("<i", -SIZE) + BMP[26:], NOTHING
    yield "offset.bmp", BMP[:10] + struct.pack("<I", 2**31) + BMP[14:], TRUNCATED
    yield "bits.bmp", BMP[:28] + struct.pack("<H", 5) + BMP[30:], DAMAGED
    yield "negative.ppm", b"P6 -24 24 255\n" + COLOUR.tobytes(), NOT_AN_IMAGE
    yield "endless-number.ppm", b"P6 " + b"9" * 10_000, DAMAGED
    yield "directory-of-itself.tif", tiff(COLOUR, next_directory=8), NOTHING
    yield "strips-outside.tif", tiff(COLOUR, changes={273: 2**31}), TRUNCATED
    yield "endless-tag.tif", tiff(COLOUR, changes={254: 0, 320: 2**31}), NOTHING


def _unusual_colours() -> Rows:
    wide = np.random.default_rng(106).integers(0, 65536, (SIZE, SIZE, 4)).astype(np.uint16)
    sixteen = ("sixteen_bit", "fix")
    alpha = ("alpha", "fix")
    yield "wide-grey.png", png(wide[..., 0], colour=0, bits=16), (sixteen, GREYSCALE)
    yield "wide-grey-alpha.png", png(wide[..., :2], colour=4, bits=16), (sixteen, alpha, GREYSCALE)
    yield "wide.png", png(wide[..., :3], bits=16), (sixteen,)
    yield "wide-alpha.png", png(wide, colour=6, bits=16), (sixteen, alpha)
    yield "wide-grey.tif", tiff(wide[..., 0]), (sixteen, GREYSCALE)
    yield "wide.tif", tiff(wide[..., :3], big_endian=True), (sixteen,)
    yield "wide.ppm", b"P6 24 24 65535\n" + wide[..., :3].astype(">u2").tobytes(), (sixteen,)
    yield "grey.png", encode(GREY), (GREYSCALE,)
    yield "grey-in-three.jpg", encode(np.repeat(GREY[..., None], 3, axis=2)), (WRONG_EXTENSION, GREYSCALE)
    yield "bits.png", encode(GREY > 127), (GREYSCALE,)
    yield "grey-alpha.png", encode(noise(107, SIZE, SIZE, 2)), (alpha, GREYSCALE)
    yield "alpha.png", encode(noise(108, SIZE, SIZE, 4)), (alpha,)
    yield "alpha.webp", encode(noise(109, SIZE, SIZE, 4), "WEBP", lossless=True), (alpha,)
    yield "opaque.png", encode(noise(110, SIZE, SIZE, 4) | np.array([0, 0, 0, 255], np.uint8)), NOTHING
    palette = Image.fromarray(COLOUR).quantize(64)
    yield "palette.png", encode(palette), (("palette", "fix"),)
    yield "palette-key.png", encode(palette, transparency=3), (("palette", "fix"), alpha)
    yield "key.png", encode(COLOUR, transparency=tuple(map(int, COLOUR[0, 0]))), (alpha,)
    cmyk = (("cmyk", "fix"),)
    yield "cmyk.jpg", CMYK, cmyk
    yield "cmyk-not-adobe.jpg", without(CMYK, 0xEE), cmyk
    transformed = [(m, d[:-1] + b"\x02" if m == 0xEE else d) for m, d in segments(CMYK)]
    yield "ycck.jpg", jpeg_of(transformed), cmyk
    yield "cmyk.tif", encode(Image.fromarray(noise(111, SIZE, SIZE, 4), "CMYK"), "TIFF"), cmyk


def _unusual_layouts() -> Rows:
    frames = [Image.fromarray(noise(112 + n, SIZE, SIZE, 3)) for n in range(3)]
    animated: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    animation = ("animation", "fix")
    yield "animated.gif", encode(frames[0], "GIF", **animated), (animation, ("palette", "fix"))
    yield "animated.png", encode(frames[0], "PNG", **animated), (animation,)
    yield "animated.webp", encode(frames[0], "WEBP", lossless=True, **animated), (animation,)
    yield "pages.tif", encode(frames[0], "TIFF", **animated), (animation,)
    yield "jpeg-in-tiff.tif", encode(COLOUR, "TIFF", compression="jpeg"), NOTHING
    yield "lossless.webp", WEBP, NOTHING


def _orientations() -> Rows:
    for orientation in range(1, 9):
        expected = NOTHING if orientation == 1 else (("orientation", "fix"),)
        yield f"turned-{orientation}.jpg", encode(COLOUR, "JPEG", exif=exif(orientation)), expected
    turned = (("orientation", "fix"),)
    for image_format in ("PNG", "WEBP"):
        unreadable = encode(COLOUR, image_format, exif=b"Exif\0\0" + bytes(range(60)))
        yield f"exif-garbage.{image_format.lower()}", unreadable, (("orientation", "keep"),)
    yield "turned-9.jpg", encode(COLOUR, "JPEG", exif=exif(9)), NOTHING
    yield "turned.png", encode(COLOUR, exif=exif(6)), turned
    yield "turned.webp", encode(COLOUR, "WEBP", exif=exif(3)), turned
    yield "turned.tif", tiff(COLOUR, changes={274: 8}), turned
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="5"/></x:xmpmeta>'
    yield "turned-by-xmp.jpg", with_segment(JPEG, 0xE1, xmp), turned


def _profiles() -> Rows:
    fixed, ignored = ("colour_profile", "fix"), ("colour_profile", "keep")
    yield "p3.jpg", encode(COLOUR, "JPEG", icc_profile=P3), (fixed,)
    yield "p3.png", encode(COLOUR, icc_profile=P3), (fixed,)
    yield "p3.webp", encode(COLOUR, "WEBP", icc_profile=P3), (fixed,)
    yield "p3-alpha.png", encode(noise(115, SIZE, SIZE, 4), icc_profile=P3), (fixed, ("alpha", "fix"))
    yield "srgb.jpg", encode(COLOUR, "JPEG", icc_profile=SRGB), NOTHING
    yield "grey-profile.jpg", encode(GREY, "JPEG", icc_profile=GREY_PROFILE), (fixed, GREYSCALE)
    yield "broken-profile.jpg", encode(COLOUR, "JPEG", icc_profile=P3[:200]), (ignored,)
    yield "no-profile.jpg", encode(COLOUR, "JPEG", icc_profile=noise(116, 500).tobytes()), (ignored,)
    yield "unfit-profile.jpg", encode(COLOUR, "JPEG", icc_profile=GREY_PROFILE), (ignored,)
    yield "cmyk-unfit-profile.jpg", with_segment(CMYK, 0xE2, b"ICC_PROFILE\0\1\1" + P3), (("cmyk", "fix"), ignored)


def _odd_pictures() -> Rows:
    constant = ("near_constant", "drop")
    yield "pixel.png", encode(COLOUR[:1, :1]), (constant,)
    yield "line.png", encode(noise(117, 2, 100, 3)), (("extreme_aspect", "keep"),)
    yield "tower.png", encode(noise(118, 300, 4, 3)), (("extreme_aspect", "keep"),)
    yield "white.jpg", encode(np.full((SIZE, SIZE, 3), 255, np.uint8), "JPEG"), (GREYSCALE, constant)
    yield "red.png", encode(np.full((SIZE, SIZE, 3), (200, 0, 0), np.uint8)), (constant,)
    hidden = noise(119, SIZE, SIZE, 4) * np.array([1, 1, 1, 0], np.uint8)
    yield "invisible.png", encode(hidden), (("alpha", "fix"), constant)
