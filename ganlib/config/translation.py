"""What a translator is given: images made worse in a known way, which it learns to undo."""

from typing import Annotated, Literal

from pydantic import Field

from ganlib.config.base import Options


class SuperresolveOptions(Options):
    """Fewer pixels: means over squares of `factor` pixels a side, made large again by bicubic interpolation."""

    kind: Literal["superresolve"]
    factor: Literal[2, 4]


class DenoiseOptions(Options):
    """Gaussian noise of standard deviation `std` on values in [-1, 1]."""

    kind: Literal["denoise"]
    std: Annotated[float, Field(gt=0, le=2)]


class DeblurOptions(Options):
    """A Gaussian blur of standard deviation `sigma_px` pixels."""

    kind: Literal["deblur"]
    sigma_px: Annotated[float, Field(gt=0, le=16)]


class ColouriseOptions(Options):
    """Colours replaced by their luma (ITU-R BT.601)."""

    kind: Literal["colourise"]


class InpaintOptions(Options):
    """A square at a random place, of `side` of the image's side, in the middle grey."""

    kind: Literal["inpaint"]
    side: Annotated[float, Field(gt=0, lt=1)]


InputsOptions = Annotated[
    SuperresolveOptions | DenoiseOptions | DeblurOptions | ColouriseOptions | InpaintOptions,
    Field(discriminator="kind"),
]
