"""Bytes of an image file to a square of uint8 pixels, under limits."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ganlib.config import DataOptions
from ganlib.datasets.sources import Unreadable, printable

# Only formats that Pillow decodes itself: no interpreter (EPS) and no exotic parser sees foreign bytes.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_RESAMPLING = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# The largest pixel that is stored: 16-bit RGBA is rare, so this bounds an uncompressed file of 8-bit RGBA.
_BYTES_PER_PIXEL = 4
_METADATA_BYTES = 1 << 20


def max_file_bytes(options: DataOptions) -> int:
    """What a file within `data.max_pixels` may hold, with room for metadata."""
    return options.max_pixels * _BYTES_PER_PIXEL + _METADATA_BYTES


def decode(content: bytes, options: DataOptions) -> NDArray[np.uint8]:
    """Decode, turn upright, flatten on black, crop the centre square and resize with antialiasing.

    Animations give their first frame; 16-bit greys are scaled to 8 bits.

    Returns:
        uint8 [size, size, channels] in [0, 255].

    Raises:
        Unreadable: not an image, damaged, or larger than `data.max_pixels`.
    """
    if not content:
        raise Unreadable("an empty file")
    try:
        with _limits(options.max_pixels), Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            opened.load()
            flat = _flatten(ImageOps.exif_transpose(opened), opened.format)
            flat = flat.convert("L" if options.channels == 1 else "RGB")
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"not an image in a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(f"more than data.max_pixels={options.max_pixels} pixels") from None
    except Exception as error:
        # Decoders meet hostile bytes here, and fail with whatever their parsing stumbles on.
        raise Unreadable(printable(f"damaged: {error}" if str(error) else f"damaged: {type(error).__name__}")) from None
    size = (options.image_size, options.image_size)
    square = _centre_square(flat).resize(size, _RESAMPLING[options.resizer])
    return np.asarray(square).reshape(*size, options.channels)


@contextmanager
def _limits(max_pixels: int) -> Iterator[None]:
    """Pillow warns above its limit and fails above twice that; here both are failures."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _flatten(image: Image.Image, file_format: str | None) -> Image.Image:
    """To 8 bits a channel without transparency."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        # Pillow would clip at 255; 65535 = 255 x 257, so this rounds v / 257 exactly.
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unreadable("32 bits a pixel, a range nobody agrees on; expected 8 or 16")
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", upper.size, (0, 0, 0, 255)), upper)
    return image


def _centre_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
