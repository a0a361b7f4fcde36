"""A first look at some pictures of a source, before anything is copied or packed."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import COMPANION, Part, Refusal, printable
from ganlib.datasets.sources.opening import is_labelled, most_images, open_source
from ganlib.errors import UserError

FEWEST_PICTURES = 80
MOST_PARTS, MOST_PICTURES, LONGEST_S = 16, 400, 10.0
LEAST_USABLE_SHARE, LEAST_SHARE_OF_FILES = 0.5, 0.1
# Of 255: below this alpha a pixel is transparent, within this difference of its colours it is grey.
_OPAQUE, _GREY = 250, 6
_BRIGHT = 190.0
_SEEN_SIZE = 64


@dataclass(frozen=True)
class Look:
    """What a sample of a source is like.

    Attributes:
        source: as it was named.
        labels: `auto`, or `none` where the source can be read without labels only.
        trouble: why it is `none`; None where it is not.
        labelled: whether the pictures have labels.
        files: how many are named like pictures, where a listing tells.
        others: of the files that were met, those beside the pictures that are none.
        unusable: of them, those named like pictures that cannot be read, and why, the most common first.
        sides: of each usable picture the shorter side, in pixels.
        transparent: how many of these have transparent parts.
        bright: how many of these parts' surroundings would be lost on white.
        grey: how many have no colours.
    """

    source: str
    labels: str
    trouble: str | None
    labelled: bool
    files: int | None
    others: int
    unusable: tuple[tuple[str, int], ...]
    sides: tuple[int, ...]
    transparent: int
    bright: int
    grey: int

    @property
    def usable(self) -> int:
        """Pictures that were looked at and can be used."""
        return len(self.sides)

    @property
    def pictures(self) -> int | None:
        """About how many usable pictures there are; None where only reading all of them tells."""
        if self.files is None:
            return None
        met = self.usable + sum(count for _, count in self.unusable)
        return round(self.files * self.usable / met) if met else 0

    @property
    def side(self) -> int:
        """The shorter side of half of the pictures is at least this, in pixels."""
        return int(median(self.sides))


def look(options: DataOptions) -> Look:
    """Look at some hundred pictures, taken from all over the source.

    Raises:
        UserError: the source cannot be read, in any way, or holds no picture.
    """
    labels, trouble, labelled = _labels(options)
    options = _lenient(options).model_copy(update={"labels": labels})
    others, unusable, seen = 0, Counter[str](), _Seen()
    started_s = time.monotonic()
    parts = _some(open_source(options).parts())
    for part in parts:
        decoded = 0
        for item in part.items():
            if isinstance(item, Refusal):
                others += item.kind == COMPANION
                unusable[item.detail] += item.kind != COMPANION
                continue
            cleaned = clean(item, options)
            if cleaned.pixels:
                seen.note(cleaned.pixels[0], min(cleaned.width, cleaned.height))
            else:
                unusable[cleaned.findings[-1].detail] += 1
            decoded += 1
            if decoded * len(parts) >= MOST_PICTURES:
                break
        if time.monotonic() - started_s > LONGEST_S:
            break
    listed = most_images(options)
    return Look(
        source=options.source,
        labels=labels,
        trouble=trouble,
        labelled=labelled,
        files=None if listed is None else listed[0],
        others=others,
        unusable=tuple(unusable.most_common()),
        sides=tuple(seen.sides),
        transparent=seen.transparent,
        bright=seen.bright,
        grey=seen.grey,
    )


def check_enough(found: Look) -> None:
    """Refuse what nothing can be learnt from.

    Raises:
        UserError: most files are no pictures, or there are too few pictures.
    """
    shown = printable(found.source)
    bad = sum(count for _, count in found.unusable)
    if found.usable < LEAST_USABLE_SHARE * (found.usable + bad):
        why, count = found.unusable[0]
        raise UserError(
            f"{shown}: of {found.usable + bad} files named like pictures that were looked at, {bad} cannot be used, "
            f"{count} of them as {why}; remove or convert them"
        )
    if found.usable < LEAST_SHARE_OF_FILES * (found.usable + found.others):
        raise UserError(
            f"{shown}: of {found.usable + found.others} files that were looked at {found.usable} are pictures; give "
            "the folder that holds the pictures"
        )
    if found.pictures is not None and found.pictures < FEWEST_PICTURES:
        raise UserError(too_few(shown, found.pictures))


def too_few(shown: str, pictures: int) -> str:
    """What is said of so few pictures that nothing can be learnt from them."""
    return (
        f"{shown}: found {pictures} usable pictures, expected {FEWEST_PICTURES} or more; some hundreds of one kind "
        "give rough variations, thousands give new pictures"
    )


class _Seen:
    """What is noted of each usable picture."""

    def __init__(self) -> None:
        self.sides: list[int] = []
        self.transparent = self.bright = self.grey = 0

    def note(self, pixels: NDArray[np.uint8], side: int) -> None:
        """One picture, uint8 [H, W, 4], and the shorter side of its file."""
        self.sides.append(side)
        opaque = pixels[..., 3] >= _OPAQUE
        colours = pixels[..., :3][opaque].astype(np.int16)
        if not opaque.all():
            self.transparent += 1
            self.bright += len(colours) > 0 and float(colours.mean()) > _BRIGHT
        self.grey += len(colours) == 0 or int(np.ptp(colours, axis=1).max()) <= _GREY


def _labels(options: DataOptions) -> tuple[str, str | None, bool]:
    """How the source can be read: `data.labels`, why not by its folders, and whether there are labels."""
    automatic, without = (options.model_copy(update={"labels": each}) for each in ("auto", "none"))
    try:
        labelled = is_labelled(automatic)
    except UserError as error:
        is_labelled(without)
        next(iter(open_source(without).parts()), None)  # raises where it cannot be read so, either
        return "none", " ".join(str(error).split()), False
    return "auto", None, labelled


def _lenient(options: DataOptions) -> DataOptions:
    """Whatever can be decoded is looked at, with its transparency."""
    cleaning = options.cleaning
    kept = dict.fromkeys(("greyscale", "extreme_aspect", "near_constant", "exact_duplicate", "near_duplicate"), "keep")
    fixed = dict.fromkeys(("animation", "cmyk", "palette", "sixteen_bit", "alpha", "orientation"), "fix")
    policy = cleaning.policy.model_copy(update={**kept, **fixed, "colour_profile": "keep", "wrong_extension": "keep"})
    return options.model_copy(
        update={
            "channels": 4,
            "image_size": _SEEN_SIZE,
            "fit": "crop",
            "cleaning": cleaning.model_copy(update={"policy": policy}),
        }
    )


def _some(parts: Iterator[Part]) -> list[Part]:
    """So many parts, each as likely as any other (reservoir sampling); always the same."""
    draw, chosen = random.Random(0), list(islice(parts, MOST_PARTS))
    for met, part in enumerate(parts, start=MOST_PARTS + 1):
        place = draw.randrange(met)
        if place < MOST_PARTS:
            chosen[place] = part
    return chosen
