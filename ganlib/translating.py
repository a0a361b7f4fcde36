"""Whole images through a translator, in tiles where they are large, without seams."""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from ganlib.config import SuperresolveOptions, kinds_of
from ganlib.datasets.cleaning.colours import in_srgb, read_profile, shown_grey, suits
from ganlib.datasets.cleaning.fitting import in_channels
from ganlib.degradations import enlarged
from ganlib.errors import UserError
from ganlib.networks import ManyWays
from ganlib.networks.stargan import OneStyle
from ganlib.networks.unet import UnetGenerator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, from_uint8, inference, seeded_latents, to_uint8

TILE_PX = 512


def translate_image(
    translator: ImageGenerator, pixels: Images, *, seed: int, to: str | None = None, tile_px: int = TILE_PX
) -> Images:
    """Translate one image of any size.

    What a place becomes depends on its surroundings within `reach_px` alone, so tiles that overlap by as much give
    the whole image: they differ from one pass over all of it by rounding.

    Args:
        translator: that learned from such inputs.
        pixels: uint8 [H, W, C]; where the translator doubles the resolution, the small image.
        seed: of the latent, one for the whole image: another seed gives another image.
        to: the kind of image to make; None: what the translator is made for. Without pairs, several can be made.
        tile_px: side of what is made at a time; bounds memory.

    Returns:
        uint8 [H, W, C], larger by the factor of a translator that raises the resolution.

    Raises:
        UserError: a generator that is given no images or makes no such kind, or another number of channels.
    """
    way = way_to(translator, to)
    network, inputs = translator.way(way).generator, translator.inputs
    unet = network.unet if isinstance(network, OneStyle) else network
    assert isinstance(unet, UnetGenerator)
    if pixels.shape[2] != translator.image.channels:
        raise UserError(f"translate: found {pixels.shape[2]} channels, expected {translator.image.channels}")
    given = from_uint8(pixels[None])
    if isinstance(inputs, SuperresolveOptions) and way == 0:
        given = enlarged(given, inputs.factor).clamp(-1, 1)
    _, _, height, width = given.shape
    below, right = -height % unet.multiple, -width % unet.multiple
    padded = F.pad(given, (0, right, 0, below), mode="replicate")
    weight = next(network.parameters())
    latents = seeded_latents(1, network.latent_dim, seed).to(weight)
    made = np.empty((height + below, width + right, pixels.shape[2]), dtype=np.uint8)
    with inference(network):
        for rows in _spans(height + below, tile_px, unet):
            for columns in _spans(width + right, tile_px, unet):
                tile = padded[:, :, rows.seen, columns.seen].to(weight)
                made[rows.kept, columns.kept] = _middle(network(latents, tile), rows, columns)
    return made[:height, :width]


def pixels_of(opened: Image.Image, channels: int, background: tuple[int, int, int]) -> Images:
    """What an image file shows, in the colours and of the way up that packing gives to training images.

    Args:
        opened: of any mode and colour profile; the first image of several.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        background: what is transparent is laid on, 0 to 255; for 4 channels it stays transparent.

    Returns:
        uint8 [H, W, C], as large as the file.

    Raises:
        ValueError: nobody agrees how to show pixels of that mode.
        Exception: whatever Pillow stumbles on in pixels that cannot be read.
    """
    opened.load()
    mode, icc = opened.mode, opened.info.get("icc_profile")
    if mode in ("F", "LAB") or (mode == "I" and opened.format != "PPM"):
        raise ValueError(f"mode {mode}: nobody agrees how to show it")
    try:
        upright = ImageOps.exif_transpose(opened)
    except Exception:  # foreign Exif data fail with whatever their parsing stumbles on; the pixels are sound
        upright = opened
    if mode.startswith("I"):  # Pillow would cut off what is above 255
        upright = Image.fromarray(shown_grey(opened, np.asarray(upright)))
    profile = read_profile(icc) if isinstance(icc, bytes) else None
    usable = profile is not None and profile.transform is not None and suits(profile, mode)
    return in_channels(np.asarray(in_srgb(upright, profile if usable else None)), channels, background)


def way_to(translator: ImageGenerator, kind: str | None) -> int:
    """Which of its ways makes a kind of image; None: the first.

    Raises:
        UserError: this is no translator, or none of its ways does.
    """
    kinds = made_kinds(translator)
    if kind is not None and kind not in kinds:
        listed = " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))
        raise UserError(f"to={kind}: this translator makes no such images; expected {listed}")
    return 0 if kind is None else kinds.index(kind)


def made_kinds(translator: ImageGenerator) -> tuple[str, ...]:
    """The kinds of images that it makes, the usual one first.

    Raises:
        UserError: this is no translator.
    """
    if translator.inputs is None:
        raise UserError("translate: this generator is given no images; draw from it (gan sample)")
    ways = translator.generator.num_ways if isinstance(translator.generator, ManyWays) else 1
    return kinds_of(translator.inputs)[:ways]


class _Span:
    """A part of an axis that is kept, and with its surroundings what the network has to see of it."""

    def __init__(self, start: int, stop: int, length: int, reach: int) -> None:
        self.kept = slice(start, stop)
        self.seen = slice(max(0, start - reach), min(length, stop + reach))
        self.inner = slice(start - self.seen.start, stop - self.seen.start)


def _spans(length: int, tile_px: int, network: UnetGenerator) -> Iterator[_Span]:
    """All places lie on multiples of what the network halves to, as they do in the whole image."""
    multiple = network.multiple
    side = max(multiple, tile_px // multiple * multiple)
    reach = -(-network.reach_px // multiple) * multiple
    for start in range(0, length, side):
        yield _Span(start, min(start + side, length), length, reach)


def _middle(made: Tensor, rows: _Span, columns: _Span) -> Images:
    image: Images = to_uint8(made[:, :, rows.inner, columns.inner])[0]
    return image
