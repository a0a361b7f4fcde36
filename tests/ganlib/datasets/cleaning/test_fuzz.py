"""Files damaged at random come back cleaned, whatever was done to them, and nothing else happens."""

import random
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import psutil
import pytest
from PIL import Image

from ganlib.config import KINDS
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import Item
from tests.ganlib.datasets.hostile_files import CMYK, P3
from tests.ganlib.datasets.image_bytes import chunk, exif, png, tiff
from tests.ganlib.datasets.image_files import data_options, encode, noise

LONGEST_S = 5.0
MOST_GROWTH_BYTES = 100 << 20
OPTIONS = data_options("unused", channels=3, limits={"max_pixels": 4_000_000, "max_decode_s": LONGEST_S})

Mutation = Callable[[bytearray, random.Random], bytearray]


def seeds() -> list[tuple[str, bytes]]:
    """Ordinary and unusual files of every format with a parser of its own."""
    colour, grey = noise(200, 40, 33, 3), noise(201, 40, 33)
    smooth = np.asarray(Image.fromarray(noise(202, 6, 5, 3)).resize((50, 60)))
    palette = Image.fromarray(smooth).quantize(32)
    frames = [Image.fromarray(noise(203 + n, 20, 20, 3)) for n in range(3)]
    animated = {"save_all": True, "append_images": frames[1:]}
    wide = np.random.default_rng(206).integers(0, 65536, (20, 20, 3)).astype(np.uint16)
    return [
        ("PNG", encode(smooth)),
        ("PNG", encode(palette, transparency=3)),
        ("PNG", encode(noise(207, 20, 20, 4), icc_profile=P3, exif=exif(6))),
        ("PNG", png(wide, bits=16, extra=chunk(b"tEXt", b"Comment\0text"))),
        ("PNG", encode(frames[0], "PNG", **animated)),
        ("JPEG", encode(smooth, "JPEG")),
        ("JPEG", encode(smooth, "JPEG", progressive=True, quality=90)),
        ("JPEG", encode(grey, "JPEG", restart_marker_blocks=1)),
        ("JPEG", encode(smooth, "JPEG", exif=exif(5), icc_profile=P3)),
        ("JPEG", CMYK),
        ("WEBP", encode(smooth, "WEBP")),
        ("WEBP", encode(noise(208, 20, 20, 4), "WEBP", lossless=True)),
        ("WEBP", encode(frames[0], "WEBP", **animated)),
        ("GIF", encode(palette, "GIF")),
        ("GIF", encode(frames[0], "GIF", **animated)),
        ("TIFF", encode(colour, "TIFF")),
        ("TIFF", encode(smooth, "TIFF", compression="tiff_lzw")),
        ("TIFF", encode(smooth, "TIFF", compression="jpeg")),
        ("TIFF", encode(grey > 127, "TIFF", compression="group4")),
        ("TIFF", encode(smooth, "TIFF", compression="tiff_adobe_deflate")),
        ("TIFF", tiff(wide, big_endian=True, changes={274: 6})),
        ("TIFF", encode(frames[0], "TIFF", **animated)),
    ]


def flip_bits(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def overwrite(content: bytearray, rng: random.Random) -> bytearray:
    at, length = rng.randrange(len(content)), rng.choice((1, 2, 4, 16, 64))
    filling = rng.choice((b"\0", b"\xff", b"\x7f", rng.randbytes(1)))
    content[at : at + length] = filling * len(content[at : at + length])
    return content


def cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: rng.randrange(len(content))]


def drop_or_double(content: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 3, 10, 100)))
    content[start:end] = rng.choice((b"", bytes(content[start:end]) * 2))
    return content


def insert(content: bytearray, rng: random.Random) -> bytearray:
    at = rng.randrange(len(content))
    content[at:at] = rng.randbytes(rng.choice((1, 2, 8, 100)))
    return content


def change_number(content: bytearray, rng: random.Random) -> bytearray:
    """Most lengths, sizes and offsets are in the first bytes, of 2 or 4 bytes."""
    width = rng.choice((2, 4))
    at = rng.randrange(max(1, min(len(content) - width, rng.choice((40, 200, len(content))))))
    number = rng.choice((0, 1, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)))
    content[at : at + width] = (number % 256**width).to_bytes(width, rng.choice(("big", "little")))
    return content


MUTATIONS: tuple[Mutation, ...] = (flip_bits, overwrite, cut, drop_or_double, insert, change_number, change_number)


def mutated(number: int, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    rng = random.Random(number)
    image_format, content = files[number % len(files)]
    changed = bytearray(content)
    if rng.random() < 0.1:
        # The beginning of one file and the end of another of its format.
        other = rng.choice([other for kind, other in files if kind == image_format])
        changed = changed[: rng.randrange(len(changed))] + bytearray(other[rng.randrange(len(other)) :])
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if changed:
            changed = rng.choice(MUTATIONS)(changed, rng)
    return image_format, bytes(changed)


def fuzz(numbers: range, capfd: pytest.CaptureFixture[str]) -> None:
    files = seeds()
    for _, content in files:  # What decoders load once does not count as growth.
        clean(Item("seed", "seed", None, None, content), OPTIONS)
    process = psutil.Process()
    before = process.memory_info().rss
    slowest_s, slowest, kinds = 0.0, -1, Counter[str]()
    started = time.monotonic()
    for number in numbers:
        image_format, content = mutated(number, files)
        begun = time.monotonic()
        result = clean(Item(f"{number}.{image_format.lower()}", "", None, None, content), OPTIONS)
        taken = time.monotonic() - begun
        slowest_s, slowest = max((slowest_s, slowest), (taken, number))
        dropped = [finding for finding in result.findings if finding.action == "drop"]
        assert bool(result.pixels) is not bool(dropped), number
        assert all(finding.kind in KINDS and finding.detail.isprintable() for finding in result.findings), number
        kinds.update([finding.kind for finding in dropped] or ["used"])
    seconds = time.monotonic() - started
    after = process.memory_info().rss
    said = capfd.readouterr()
    print(
        f"{len(numbers)} files in {seconds:.1f} s ({len(numbers) / seconds:.0f}/s), slowest {1000 * slowest_s:.0f} ms "
        f"(number {slowest}), RSS {before >> 20} to {after >> 20} MiB, {dict(kinds.most_common())}"
    )
    assert said == ("", "")
    assert slowest_s < LONGEST_S
    assert "too_slow" not in kinds
    assert after - before < MOST_GROWTH_BYTES
    assert kinds["used"]
    assert kinds["damaged"]


def test_a_few_hundred_mutated_files(capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(range(300), capfd)


@pytest.mark.slow
def test_ten_thousand_mutated_files(capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(range(1_000, 11_000), capfd)
