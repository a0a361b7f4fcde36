"""What cleaning makes of one item."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlib.config import Action


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something unusual about an image: a field of `Policy`, what was done (`fail` never gets here), and details."""

    kind: str
    action: Action
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Cleaned:
    """An item decoded, cleaned and fitted; `pixels` are empty when it was dropped.

    `pixels` holds uint8 [size, size, channels] arrays, more than one only for
    `data.fit=tile`. `sha256` is of mode, size and pixels of the upright 8-bit
    picture before it was fitted, whatever file it came from. `difference_hash`
    has 32 bytes: of 16 x 17 grey values, which neighbour is brighter. `mode`,
    `width`, `height` and `peak` (see `Picture`) are of the file as it was; for a
    dropped item they may be empty, 0 and None.
    """

    pixels: tuple[NDArray[np.uint8], ...]
    findings: tuple[Finding, ...]
    sha256: bytes
    difference_hash: bytes
    mode: str
    width: int
    height: int
    peak: int | None
