"""Bytes of an image file to upright pixels of 8 bits, under limits and policies."""

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, EXTRASAMPLES, TiffImageFile

from ganlib.config import Action, LimitOptions
from ganlib.datasets.cleaning import opencv
from ganlib.datasets.cleaning.colours import Profile, in_srgb, read_profile, shown_grey, suits, to_eight_bits
from ganlib.datasets.cleaning.headers import Header, ends_early, scan
from ganlib.datasets.cleaning.overhearing import overheard
from ganlib.datasets.files.formats import ImageFormat
from ganlib.datasets.items import Unreadable, printable

_ORIENTATION_TAG = 0x0112
_BACK = {6: 8, 8: 6}
_LONGEST_REASON = 120
# Unless somebody asks for logs, what Pillow thinks of a file is not printed.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Pillow's limits, and what Python does about warnings, belong to the process: of several threads one at a time.
_turn = threading.Lock()


class Found(Protocol):
    """Is told of something unusual, and says what is done about it: `keep` or `fix`.

    It raises where the image is not used, and takes the same kind twice as once.
    """

    def __call__(self, kind: str, detail: str, *, fixable: bool = True) -> Action:
        """`kind` is a field of `Policy`; what is not `fixable` is kept instead of fixed."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a file shows: uint8 [H, W], [H, W, 3] or [H, W, 4], being grey, RGB or RGBA, C-contiguous.

    `mode`, `width` and `height` are of the file, before anything was done, and so is `peak`, the largest value where it
    has 16 bits: cameras and scanners of 10, 12 or 14 bits write such files and do not scale them.
    """

    pixels: NDArray[np.uint8]
    mode: str
    width: int
    height: int
    peak: int | None = None


class _EndsEarly(Exception):
    """A decoder ran out of bytes."""


@dataclass(frozen=True, slots=True)
class _Traits:
    """What is known of an opened file before its pixels are decoded; an orientation of None cannot be read."""

    mode: str
    bits: int
    animated: bool
    orientation: int | None
    profile: bytes


def decode(content: bytes, image_format: ImageFormat, limits: LimitOptions, found: Found) -> Picture:
    """Decode, scale to 8 bits, convert to sRGB and turn upright, as far as `found` says so.

    Ordinary JPEG and PNG files are decoded by OpenCV, all others by Pillow;
    where both can, they give the same pixels. Of several images in a file the
    first is taken.

    Raises:
        Unreadable: not usable, or beyond the limits.
    """
    header = scan(content, image_format)
    if header is not None:
        check_size(header.width, header.height, limits)
        if header.mode and header.bits == 8 and header.plain and header.complete:
            pixels = _by_opencv(content, header)
            if pixels is not None:
                return Picture(pixels, header.mode, header.width, header.height)
    if ends_early(content, image_format) if header is None else not header.complete:
        found("truncated", "the file ends early")
        return _carefully(content, image_format, header, limits, found, lenient=True)
    try:
        return _carefully(content, image_format, header, limits, found, lenient=False)
    except _EndsEarly:
        found("truncated", "the file ends early")
        return _carefully(content, image_format, header, limits, found, lenient=True)


def check_size(width: int, height: int, limits: LimitOptions) -> None:
    """Raise `Unreadable`, `too_large`, for more than `data.limits.max_pixels`."""
    if width * height > limits.max_pixels:
        raise Unreadable("too_large", f"{width} x {height} is more than data.limits.max_pixels={limits.max_pixels}")


def _by_opencv(content: bytes, header: Header) -> NDArray[np.uint8] | None:
    pixels = opencv.decode(content, header.mode)
    return pixels if pixels is not None and pixels.shape[:2] == (header.height, header.width) else None


def _carefully(
    content: bytes,
    image_format: ImageFormat,
    header: Header | None,
    limits: LimitOptions,
    found: Found,
    *,
    lenient: bool,
) -> Picture:
    """Decode what is not ordinary; `lenient` takes what can be read of a file that ends early."""
    with _turn, _pillows_globals(lenient):
        with _blaming_the_file(lenient):
            opened = Image.open(io.BytesIO(content), formats=(image_format,))
        with opened:
            width, height = opened.size
            check_size(width, height, limits)
            with _blaming_the_file(lenient):
                traits = _traits(opened, image_format, header)
            profile, upright = _announce(traits, found)
            with _blaming_the_file(lenient):
                pixels, peak = (None, None) if lenient else _by_opencv_where_better(opened, content, header, traits)
                if pixels is None:
                    overheard(opened.load)  # libtiff prints what it then also returns.
                    pixels, peak = _wide_grey(opened) if opened.mode.startswith("I") else (None, None)
                if pixels is None or profile is not None:
                    image = opened if pixels is None else Image.fromarray(pixels)
                    pixels = np.asarray(in_srgb(image, profile))
    # Both decoders turn TIFF files upright of themselves, and no others.
    turned_back = image_format == "TIFF"
    if traits.orientation not in (None, 1) and upright != turned_back:
        orientation = _BACK.get(traits.orientation, traits.orientation) if turned_back else traits.orientation
        pixels = opencv.turned(pixels, orientation)
    return Picture(np.ascontiguousarray(pixels), traits.mode, width, height, peak)


def _traits(opened: ImageFile.ImageFile, image_format: ImageFormat, header: Header | None) -> _Traits:
    bits = 8 if header is None else header.bits
    if isinstance(opened, TiffImageFile):
        bits = max(opened.tag_v2.get(BITSPERSAMPLE, (1,)))
    elif image_format == "PPM":
        args = opened.tile[0].args
        bits = 16 if opened.mode == "I" or (isinstance(args, tuple) and args[-1] > 255) else 8
    profile = opened.info.get("icc_profile")
    return _Traits(
        mode=opened.mode,
        bits=bits,
        # Some cameras put a preview behind the photo in the same JPEG file.
        animated=image_format != "JPEG" and getattr(opened, "is_animated", False),
        orientation=_orientation(opened),
        profile=profile if isinstance(profile, bytes) else b"",
    )


def _orientation(opened: Image.Image) -> int | None:
    try:
        orientation = opened.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        # Foreign bytes fail with whatever their parsing stumbles on; `_announce` lists it.
        return None
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _announce(traits: _Traits, found: Found) -> tuple[Profile | None, bool]:
    """Tell of what is unusual; returns the profile to convert by, and whether to turn upright."""
    mode, bits = traits.mode, traits.bits
    if bits not in (0, 1, 2, 4, 8, 16) or (mode in ("I", "F", "LAB") and not (mode == "I" and bits == 16)):
        raise Unreadable("not_an_image", f"{bits} bits a channel, mode {mode}: nobody agrees how to show it")
    if traits.animated:
        found("animation", "several images in one file; the first is taken")
    if mode == "CMYK":
        found("cmyk", mode)
    if mode in ("P", "PA"):
        found("palette", mode)
    if bits == 16:
        found("sixteen_bit", mode)
    upright = False
    if traits.orientation is None:
        found("orientation", "the Exif data cannot be read, and were ignored", fixable=False)
    elif traits.orientation != 1:
        upright = found("orientation", f"Exif orientation {traits.orientation}") == "fix"
    if not traits.profile:
        return None, upright
    profile = read_profile(traits.profile)
    if profile is None or not suits(profile, mode):
        # Like a file without a profile, it is taken for sRGB.
        found("colour_profile", "the profile cannot be used, and was ignored", fixable=False)
        return None, upright
    converting = profile.transform is not None and found("colour_profile", profile.description) == "fix"
    return profile if converting else None, upright


def _by_opencv_where_better(
    opened: ImageFile.ImageFile, content: bytes, header: Header | None, traits: _Traits
) -> tuple[NDArray[np.uint8] | None, int | None]:
    """JPEG, where OpenCV is faster and tells of damage, and 16-bit colours, which Pillow cuts to 8, with their peak."""
    if header is not None and opened.format in ("JPEG", "MPO") and header.mode:
        return _by_opencv(content, header), None
    premultiplied = isinstance(opened, TiffImageFile) and opened.tag_v2.get(EXTRASAMPLES) == (1,)
    if traits.bits == 16 and traits.mode in ("RGB", "RGBA") and opened.format in ("PNG", "TIFF") and not premultiplied:
        wide = opencv.decode_wide(content)
        if wide is not None and wide.shape[:2] == opened.size[::-1]:
            has_alpha = traits.mode == "RGBA" or "transparency" in opened.info
            return to_eight_bits(wide if has_alpha else wide[..., :3]), int(wide[..., :3].max())
    return None, None


def _wide_grey(opened: ImageFile.ImageFile) -> tuple[NDArray[np.uint8], int]:
    wide: NDArray[Any] = np.asarray(opened)
    return shown_grey(opened, wide), int(wide.max())


@contextmanager
def _pillows_globals(lenient: bool) -> Iterator[None]:
    """Sizes are checked here and not by Pillow; its warnings decide nothing."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, lenient
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def _blaming_the_file(lenient: bool) -> Iterator[None]:
    """Decoders meet hostile bytes here, and fail with whatever their parsing stumbles on."""
    try:
        yield
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("damaged", "the header cannot be read") from None
    except MemoryError:
        raise Unreadable("too_large", "it does not fit into memory") from None
    except Exception as error:
        reason = str(error)
        if not lenient and reason.lower().startswith(("image file is truncated", "truncated file read")):
            raise _EndsEarly from None
        name = type(error).__name__
        raise Unreadable("damaged", printable(reason or name)[:_LONGEST_REASON]) from None
