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
    """Decode, turn upright, crop the centre square and resize with antialiasing.

    For 1 and 3 channels, transparency is laid on black. For 4 it is kept, an
    image without it is opaque, colours are weighted by alpha when resized, and
    those of wholly transparent pixels are black, as nobody can see them.
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
            upright = _eight_bits(ImageOps.exif_transpose(opened), opened.format)
            image = _with_alpha(upright) if options.channels == 4 else _on_black(upright, options.channels)
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
    # Pillow resizes RGBA premultiplied, so that hidden colours do not bleed into visible ones.
    square = _centre_square(image).resize(size, _RESAMPLING[options.resizer])
    pixels = np.array(square).reshape(*size, options.channels)
    if options.channels == 4:
        pixels[pixels[..., 3] == 0] = 0
    return pixels


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


def _eight_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """To 8 bits a channel."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        # Pillow would clip at 255; 65535 = 255 x 257, so this rounds v / 257 exactly.
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unreadable("32 bits a pixel, a range nobody agrees on; expected 8 or 16")
    return image


def _on_black(image: Image.Image, channels: int) -> Image.Image:
    """To grey or RGB."""
    if image.has_transparency_data:
        upper = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", upper.size, (0, 0, 0, 255)), upper)
    return image.convert("L" if channels == 1 else "RGB")


def _with_alpha(image: Image.Image) -> Image.Image:
    """To RGBA."""
    return (image if image.has_transparency_data else image.convert("RGB")).convert("RGBA")


def _centre_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
