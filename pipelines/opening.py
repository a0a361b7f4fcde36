"""Image files of people, opened with one line for whatever is wrong with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from ganlib.errors import UserError


@contextmanager
def opened_image(source: Path | IO[bytes], *, name: str, most_pixels: int, limit: str) -> Iterator[Image.Image]:
    """An image whose pixels are yet to be read; what reading them meets is told too.

    Args:
        source: a file or its content.
        name: of the image, for errors.
        most_pixels: width times height at most.
        limit: what the user calls that bound.

    Raises:
        UserError: no such file, too large, or no image.
    """
    try:
        with Image.open(source) as opened:
            if opened.width * opened.height > most_pixels:
                raise UserError(
                    f"{name}: {opened.width} x {opened.height} pixels are more than {limit}={most_pixels}; "
                    "make the image smaller or raise the limit"
                )
            yield opened
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; give image files") from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: cannot be read as an image (in no known format); give image files") from None
    except UserError:
        raise
    except Exception as error:  # foreign bytes fail with whatever their parsing stumbles on
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: cannot be read as an image ({reason}); give image files") from None
