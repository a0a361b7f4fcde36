"""Names for pictures: the same for the same pixels, and much the same for pictures that look alike."""

import hashlib
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 16, 17
# 255 x 256 x 256 is below 2^24.
_MOST_EXACT_PIXELS = 1 << 16
_TO_GREY = {3: cv2.COLOR_RGB2GRAY, 4: cv2.COLOR_RGBA2GRAY}


def picture_sha256(pixels: NDArray[np.uint8]) -> bytes:
    """SHA-256 of mode, size and pixels: [H, W] is L, [H, W, 3] RGB and [H, W, 4] RGBA; C-contiguous."""
    mode = "L" if pixels.ndim == 2 else "RGB" if pixels.shape[2] == 3 else "RGBA"
    digest = hashlib.sha256(f"{mode} {pixels.shape[1]} {pixels.shape[0]}\n".encode())
    digest.update(pixels.data)
    return digest.digest()


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey [H, W] of [H, W, C], C being 1, 3 or 4: (9798 R + 19235 G + 3735 B + 16384) >> 15 (ITU-R BT.601)."""
    channels = pixels.shape[2]
    if channels == 1:
        return np.ascontiguousarray(pixels[..., 0])
    # Whole numbers, and so the same on every machine.
    return cast("NDArray[np.uint8]", cv2.cvtColor(pixels, _TO_GREY[channels]))


def difference_hash(grey: NDArray[np.uint8]) -> bytes:
    """Of [H, W], as 16 rows of 17 means: a bit for each that is brighter than the next on its right; 32 bytes.

    Neal Krawetz, "Kind of like that", 2013, with 16 x 16 bits.
    """
    height, width = grey.shape
    # Sums, with areas as weights, of whole numbers below 2^24, and then below 2^53: floats hold them exactly, in
    # whatever order they are added, and so the hash is the same on every machine.
    rows = _overlaps(height, _ROWS) @ grey.astype(np.float32)
    if height * width > _MOST_EXACT_PIXELS:
        rows = rows.astype(np.float64)
    sums = rows @ _overlaps(width, _COLUMNS).T
    return np.packbits(sums[:, :-1] > sums[:, 1:]).tobytes()


@lru_cache(maxsize=256)
def _overlaps(source: int, target: int) -> NDArray[np.float32]:
    """[target, source]: how much of each of so many equal parts lies in each of so many others, in whole units."""
    parts = np.arange(target + 1)[:, None] * source
    cells = np.arange(source + 1)[None] * target
    shared = np.minimum(parts[1:], cells[:, 1:]) - np.maximum(parts[:-1], cells[:, :-1])
    overlaps: NDArray[np.float32] = np.maximum(shared, 0).astype(np.float32)
    return overlaps


def grey_std(grey: NDArray[np.uint8]) -> float:
    """Standard deviation, in grey values, of [H, W]."""
    return float(cv2.meanStdDev(grey)[1][0, 0])
