"""What the headers of a file say: whether it is complete, and as ordinary as the fast decoder needs it."""

import struct
import zlib
from dataclasses import dataclass

from ganlib.datasets.files.formats import ImageFormat
from ganlib.datasets.items import Unreadable

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_END = b"\xff\xd9"
# Chunks that change neither the pixels nor how they are to be seen, and hold nothing packed.
_PLAIN_CHUNKS = frozenset(
    (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"tIME", b"tEXt", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD")
)
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COMMON_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # Baseline, extended and progressive, with Huffman codes.


@dataclass(frozen=True, slots=True)
class Header:
    """What a JPEG or PNG file says of itself.

    `mode` is L, RGB or RGBA where OpenCV and Pillow are known to give the same
    pixels, if `bits` a channel are 8, and empty where they may not.
    `plain` says that nothing else is in the file: neither orientation, profile
    and key colour, nor more frames. `complete` says that the end is there.
    `width` and `height` are 0 where the header is broken.
    """

    width: int
    height: int
    mode: str
    bits: int
    plain: bool
    complete: bool


def ends_early(content: bytes, image_format: ImageFormat) -> bool:
    """Whether a WebP or TIFF file says that it is longer; other formats say so only on the way."""
    if image_format == "WEBP":
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    if image_format == "TIFF" and content[2:4] in (b"*\0", b"\0*"):
        return int.from_bytes(content[4:8], "little" if content[0] == ord("I") else "big") + 2 > len(content)
    return False


def scan(content: bytes, image_format: ImageFormat) -> Header | None:
    """Read the headers of a JPEG or PNG file, and the check sums of the latter; None for other formats.

    Raises:
        Unreadable: `damaged`, a PNG file whose chunks are wrong.
    """
    if image_format == "JPEG":
        return _scan_jpeg(content)
    if image_format == "PNG":
        return _scan_png(content)
    return None


def _scan_jpeg(content: bytes) -> Header:
    """ITU-T T.81, annex B: markers with their lengths, up to the first scan."""
    at, end, plain = 2, len(content), True
    width = height = bits = components = frame = 0
    while at + 4 <= end and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xDA:
            complete = content.endswith(_JPEG_END) or content.rfind(_JPEG_END, at) >= 0
            common = frame in _COMMON_FRAMES and bits == 8 and width > 0 and height > 0
            mode = {1: "L", 3: "RGB"}.get(components, "") if common else ""
            return Header(width, height, mode, bits, plain, complete)
        if marker in _START_OF_FRAME and at + 10 <= end:
            frame = marker
            bits, height, width, components = struct.unpack_from(">BHHB", content, at + 4)
        elif marker in (0xE1, 0xE2):
            plain = False  # Exif, XMP or a colour profile.
        at += 2 + (content[at + 2] << 8) + content[at + 3]
    # Either it ends here, or there is something unusual that Pillow may know how to skip.
    return Header(width, height, "", 0, plain=False, complete=at + 4 <= end and content.rfind(_JPEG_END, at) >= 0)


def _scan_png(content: bytes) -> Header:
    """W3C PNG, 3rd edition, section 5: chunks with length, name and check sum."""
    view = memoryview(content)
    at, end = len(_PNG_START), len(content)
    names = set()
    complete = False
    while not complete and at + 12 <= end:
        after = at + 12 + int.from_bytes(view[at : at + 4], "big")
        if after > end:
            break
        name = content[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : after - 4]) != int.from_bytes(view[after - 4 : after], "big"):
            raise Unreadable("damaged", f"the check sum of chunk {ascii(name)[2:-1]} is wrong")
        names.add(name)
        complete = name == b"IEND"
        at = after
    if content[12:16] != b"IHDR" or end < 33:
        if complete:
            raise Unreadable("damaged", "the PNG header is missing")
        return Header(0, 0, "", 0, plain=False, complete=False)
    if complete and b"IDAT" not in names:
        raise Unreadable("damaged", "there are no pixels in it")
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    mode = "" if interlaced else {0: "L", 2: "RGB", 6: "RGBA"}.get(colour, "")
    return Header(width, height, mode, bits, plain=names <= _PLAIN_CHUNKS, complete=complete)
