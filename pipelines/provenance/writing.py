"""Generated images as files: marked, and on record before they can be seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlib.marking import SOURCE_TYPE, Origin, marked_png, marked_webp
from pipelines.provenance import credential
from pipelines.provenance.made import record
from pipelines.stages.shell import FRAME_MS, write_bytes


def write_generated(
    path: Path, pixels: NDArray[np.uint8], origin: Origin, *, by: str, source_type: str = SOURCE_TYPE
) -> None:
    """A generated image or grid, uint8 [H, W, C], as a PNG file that tells its origin; signed where that is possible.

    Args:
        path: of the file.
        pixels: of the image.
        origin: what made it.
        by: the command.
        source_type: of what the picture shows.

    Raises:
        UserError: the certificate cannot be used.
    """
    file = marked_png(pixels, origin, source_type)
    if credential.available():
        file = credential.sign(file, origin, source_type=source_type)
    record([(pixels, origin)], by=by)
    write_bytes(path, file)


def write_generated_animation(path: Path, frames: Sequence[NDArray[np.uint8]], origin: Origin, *, exact: bool) -> None:
    """Generated frames as an endless WebP that tells its origin; signed where that is possible.

    The log does not have it: WebP changes the pixels.

    Args:
        path: of the file.
        frames: uint8 [H, W, C] each.
        origin: what made them.
        exact: without loss to the eye, which takes more room.

    Raises:
        UserError: the certificate cannot be used.
    """
    file = marked_webp(frames, origin, frame_ms=FRAME_MS, exact=exact)
    write_bytes(path, credential.sign(file, origin, mime="image/webp") if credential.available() else file)
