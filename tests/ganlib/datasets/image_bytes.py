"""Image files and parts of them, byte by byte, with whatever should be wrong with them."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    pixels: NDArray[Any],
    *,
    colour: int = 2,
    bits: int = 8,
    extra: bytes = b"",
    size: tuple[int, int] | None = None,
    packed: bytes | None = None,
    filter_type: int = 0,
) -> bytes:
    """A PNG file of [H, W, C] or [H, W] pixels, uint8 or uint16, with chunks of one's own before the pixels."""
    height, width = size or pixels.shape[:2]
    rows = b"".join(bytes([filter_type]) + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(rows) if packed is None else packed
    return PNG_START + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def flipped(content: bytes, at: int, bits: int = 0xFF) -> bytes:
    changed = bytearray(content)
    changed[at] ^= bits
    return bytes(changed)


def bad_checksum(content: bytes, name: bytes) -> bytes:
    start = content.index(name) - 4
    return flipped(content, start + 8 + int.from_bytes(content[start : start + 4], "big"))


def segments(content: bytes) -> list[tuple[int, bytes]]:
    """The markers of a JPEG file with their payloads; the last is the scan, with all that follows."""
    found, at = [], 2
    while content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        found.append((content[at + 1], content[at + 4 : at + 2 + length]))
        at += 2 + length
    return [*found, (0xDA, content[at + 2 :])]


def jpeg_of(parts: Sequence[tuple[int, bytes]]) -> bytes:
    body = b"".join(
        bytes([0xFF, marker]) + (b"" if marker == 0xDA else struct.pack(">H", len(data) + 2)) + data
        for marker, data in parts
    )
    return b"\xff\xd8" + body


def with_frame(content: bytes, *, height: int | None = None, width: int | None = None, bits: int = 8) -> bytes:
    """A JPEG file whose frame header says something else."""
    changed = []
    for marker, data in segments(content):
        if marker in (0xC0, 0xC2):
            _, old_height, old_width = struct.unpack_from(">BHH", data)
            size = (old_height if height is None else height, old_width if width is None else width)
            data = struct.pack(">BHH", bits, *size) + data[5:]
        changed.append((marker, data))
    return jpeg_of(changed)


def without(content: bytes, marker: int) -> bytes:
    return jpeg_of([part for part in segments(content) if part[0] != marker])


def with_segment(content: bytes, marker: int, data: bytes) -> bytes:
    return jpeg_of([(marker, data), *segments(content)])


def tiff(
    pixels: NDArray[Any], *, big_endian: bool = False, changes: dict[int, int] | None = None, next_directory: int = 0
) -> bytes:
    """An uncompressed TIFF file, the directory first; `changes` are values of tags."""
    order = ">" if big_endian else "<"
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    bits = 8 * pixels.dtype.itemsize
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 339} | set(changes or {})
    bits_at = 8 + 2 + 12 * len(tags) + 4
    values = {256: width, 257: height, 258: bits_at if channels > 2 else bits, 259: 1, 262: 2 if channels > 2 else 1}
    values |= {273: bits_at + 2 * channels, 277: channels, 278: height, 279: len(data), 284: 1, 339: sample_format}
    values |= changes or {}
    directory = struct.pack(order + "H", len(values))
    for tag, value in sorted(values.items()):
        count = channels if tag == 258 else 1
        kind = 3 if tag == 258 and channels > 2 else 4
        directory += struct.pack(order + "HHII", tag, kind, count, value)
    start = (b"MM" if big_endian else b"II") + struct.pack(order + "HI", 42, 8)
    return start + directory + struct.pack(order + "I" + "H" * channels, next_directory, *[bits] * channels) + data


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def icc_profile(primaries: Sequence[Sequence[float]], gamma: float, name: str, *, space: bytes = b"RGB ") -> bytes:
    """ICC.1:2022: a matrix and curve profile of XYZ primaries (D50), or a grey one of one curve."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + bytes(1 + 78),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642) + fixed(1.0) + fixed(0.8249),
        b"cprt": b"text" + bytes(4) + b"none\0",
    }
    if space == b"RGB ":
        for letter, xyz in zip(b"rgb", primaries, strict=True):
            tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + b"".join(map(fixed, xyz))
            tags[bytes([letter]) + b"TRC"] = curve
    else:
        tags[b"kTRC"] = curve
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += padded
    header = struct.pack(">I", start + len(data)) + bytes(4) + b"\x02\x10\0\0mntr" + space + b"XYZ "
    header += bytes(12) + b"acsp" + bytes(128 - len(header) - 16)
    header = header[:68] + fixed(0.9642) + fixed(1.0) + fixed(0.8249) + header[80:]
    return header + struct.pack(">I", len(tags)) + table + data
