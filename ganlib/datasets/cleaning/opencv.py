"""OpenCV's decoder: fast, and bit for bit the same as Pillow's on ordinary files."""

import re
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ganlib.datasets.cleaning.overhearing import overheard
from ganlib.datasets.items import Unreadable

cv2.setNumThreads(1)  # Images are decoded by as many processes as there are cores.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_FLAGS = {
    "L": cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    "RGB": cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
    "RGBA": cv2.IMREAD_UNCHANGED,
}
_SERIOUS = re.compile(r"Corrupt JPEG data: .*|libpng error: .*")
_LEFT_OVER = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
# Some cameras leave a few bytes between the last pixel and the end.
_MOST_LEFT_OVER_BYTES = 4


def decode(content: bytes, mode: str) -> NDArray[np.uint8] | None:
    """Decode an ordinary JPEG or PNG file of 8 bits a channel, not turned upright.

    Args:
        content: the file.
        mode: L, RGB or RGBA, the file's own.

    Returns:
        uint8 [H, W], [H, W, 3] or [H, W, 4]; None where OpenCV does not know how.

    Raises:
        Unreadable: `damaged`, where the decoder had to make pixels up.
    """
    pixels = _decode(content, _FLAGS[mode])
    if pixels is None or pixels.dtype != np.uint8:
        return None
    return cast("NDArray[np.uint8]", cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA) if mode == "RGBA" else pixels)


def decode_wide(content: bytes) -> NDArray[np.uint16] | None:
    """Decode 16 bits a channel, which Pillow cuts to 8; TIFF files are turned upright.

    Returns:
        uint16 [H, W, 3] or [H, W, 4], RGB or RGBA; None where OpenCV does not know how.

    Raises:
        Unreadable: `damaged`, where the decoder had to make pixels up.
    """
    pixels = _decode(content, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    return cast("NDArray[np.uint16]", pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])


def turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn as the Exif tag Orientation, 1 to 8, asks for (CIPA DC-008, 4.6.5)."""
    swapped = cv2.transpose(pixels) if orientation in (5, 6, 7, 8) else pixels
    axis = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return cast("NDArray[np.uint8]", swapped if axis is None else cv2.flip(swapped, axis))


def _decode(content: bytes, flags: int) -> NDArray[Any] | None:
    encoded = np.frombuffer(content, np.uint8)
    try:
        pixels, said = overheard(lambda: cv2.imdecode(encoded, flags))
    except cv2.error:
        return None  # Larger than OpenCV's own limits.
    if said and (serious := _SERIOUS.search(said)) and not _is_left_over(serious[0]):
        raise Unreadable("damaged", serious[0])
    return pixels


def _is_left_over(line: str) -> bool:
    match = _LEFT_OVER.fullmatch(line)
    return match is not None and int(match[1]) <= _MOST_LEFT_OVER_BYTES
