"""Colours of all kinds to 8-bit grey, RGB or RGBA, as sRGB (IEC 61966-2-1) shows them."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from ganlib.datasets.items import printable

_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
# Two roundings to whole numbers, of which nobody sees a thing.
_SAME_WITHIN = 2
_PROBES_A_CHANNEL = 9
_LONGEST_DESCRIPTION = 60
_WHITE_IS_ZERO = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """How to get from a profile's colours to sRGB; `transform` is None where they are the same."""

    mode: str
    description: str
    transform: ImageCms.ImageCmsTransform | None


@lru_cache(maxsize=16)
def read_profile(profile: bytes) -> Profile | None:
    """Read an ICC profile (ICC.1:2022); None if it cannot be."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        description = printable((source.profile.profile_description or "no name").strip())[:_LONGEST_DESCRIPTION]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return Profile(mode, description, None if _changes_nothing(transform, mode) else transform)
    except (ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError, MemoryError):
        return None


def suits(profile: Profile, mode: str) -> bool:
    """Whether a picture of that mode can have such colours; grey ones are often given RGB profiles."""
    return (profile.mode == "CMYK") == (mode == "CMYK") and (profile.mode != "L" or mode == "L")


def to_srgb(image: Image.Image, profile: Profile) -> Image.Image:
    """Convert L, RGB, RGBA or CMYK by a profile that suits it; CMYK becomes RGB, alpha stays."""
    assert profile.transform is not None
    if image.mode == "RGBA":
        colours = to_srgb(image.convert("RGB"), profile)
        colours.putalpha(image.getchannel("A"))
        return colours
    converted = ImageCms.applyTransform(image.convert(profile.mode), profile.transform)
    assert converted is not None
    return converted.getchannel("G") if image.mode == "L" else converted


def to_eight_bits(wide: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """65535 = 255 x 257, so this rounds v / 257 exactly."""
    return ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8)


def shown_grey(opened: Image.Image, wide: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey of 16 bits [H, W], read of an opened file, as uint8 [H, W]; [H, W, 4] where one is transparent."""
    eight_bits = to_eight_bits(wide)
    if isinstance(opened, TiffImageFile) and opened.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        return ~eight_bits
    key = opened.info.get("transparency")
    if not isinstance(key, int):
        return eight_bits
    alpha = np.where(wide == key, np.uint8(0), np.uint8(255))
    return np.stack((eight_bits, eight_bits, eight_bits, alpha), axis=-1)


def in_srgb(image: Image.Image, profile: Profile | None) -> Image.Image:
    """Any mode of 8 bits or fewer to L, RGB or RGBA, by a profile that suits it where there is one."""
    plain = image if image.mode == "CMYK" and profile is not None else to_plain(image)
    return plain if profile is None else to_srgb(plain, profile)


def to_plain(image: Image.Image) -> Image.Image:
    """Any mode of 8 bits or fewer to L, RGB or RGBA; what is transparent in any way becomes RGBA."""
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether colours all over the space come out as they went in."""
    if mode == "CMYK":
        return False
    if mode == "L":
        probes = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        steps = np.linspace(0, 255, _PROBES_A_CHANNEL).astype(np.uint8)
        probes = Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3))
    converted = ImageCms.applyTransform(probes, transform)
    before, after = np.asarray(probes.convert("RGB"), np.int16), np.asarray(converted, np.int16)
    return bool(np.abs(after - before).max() <= _SAME_WITHIN)
