"""Generated images as files: marked, and on record before they can be seen."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlib.marking import Origin, marked_png
from pipelines.provenance import credential
from pipelines.provenance.made import record
from pipelines.stages.shell import write_bytes


def write_generated(path: Path, pixels: NDArray[np.uint8], origin: Origin, *, by: str) -> None:
    """A generated image or grid, uint8 [H, W, C], as a PNG file that tells its origin; signed where that is possible.

    Args:
        path: of the file.
        pixels: of the image.
        origin: what made it.
        by: the command.

    Raises:
        UserError: the certificate cannot be used.
    """
    file = marked_png(pixels, origin)
    if credential.available():
        file = credential.sign(file, origin)
    record([(pixels, origin)], by=by)
    write_bytes(path, file)
