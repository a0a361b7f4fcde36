"""Image files that people name, made into what the preprocess stage would make of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlib.config import MODES, DataOptions
from ganlib.datasets.cleaning.cleaned import Cleaned
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import Item
from ganlib.errors import UserError


@dataclass(frozen=True)
class ReadImage:
    """A square of a file.

    Attributes:
        file: it is of.
        name: of the file, and which square of it where `data.fit` is `tile`.
        pixels: uint8 [H, W, C].
        converted: what it was and what it was made into; None for a file of the data's own size and channels.
    """

    file: Path
    name: str
    pixels: NDArray[np.uint8]
    converted: str | None


def read_images(files: Sequence[Path], options: DataOptions) -> tuple[list[ReadImage], list[str]]:
    """All squares of the files that can be used, and a line for each file that cannot."""
    usable: list[ReadImage] = []
    troubles = []
    for file in files:
        try:
            cleaned = _cleaned(file, options)
        except UserError as error:
            troubles.append(str(error))
            continue
        many = len(cleaned.pixels) > 1
        converted = _converted(cleaned, options)
        usable += [
            ReadImage(file, f"{file}, square {place}" if many else str(file), pixels, converted)
            for place, pixels in enumerate(cleaned.pixels, start=1)
        ]
    return usable, troubles


def said(mode: str) -> str:
    """What people call one of Pillow's modes."""
    return "grey" if mode == "L" else mode


def _cleaned(file: Path, options: DataOptions) -> Cleaned:
    limit = options.limits.max_file_bytes
    try:
        if not file.is_file():
            raise UserError(f"{file}: {'not a file' if file.exists() else 'no such file'}; give image files")
        if (size := file.stat().st_size) > limit:
            raise UserError(f"{file}: {size} bytes are more than data.limits.max_file_bytes={limit}")
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    cleaned = clean(Item(name=str(file), key=file.stem, label=None, split=None, content=content), options)
    if not cleaned.pixels:
        why = cleaned.findings[-1]
        raise UserError(f"{file}: the data room would leave it out ({why.kind}: {why.detail})")
    return cleaned


def _converted(cleaned: Cleaned, options: DataOptions) -> str | None:
    mode, size = MODES[options.channels], options.image_size
    if (cleaned.mode, cleaned.width, cleaned.height) == (mode, size, size):
        return None
    return (
        f"{cleaned.width} x {cleaned.height} {said(cleaned.mode)}, converted to {size} x {size} {said(mode)} "
        f"(data.fit={options.fit}, data.resizer={options.resizer})"
    )
