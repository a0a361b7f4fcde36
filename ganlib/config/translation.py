"""What a translator is given: images made worse in a known way, the other ones of pairs, or another class of images."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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


class InvertOptions(Options):
    """The negative, blurred by a Gaussian of standard deviation `sigma_px` pixels; transparency is blurred alone."""

    kind: Literal["invert"]
    sigma_px: Annotated[float, Field(gt=0, le=16)]


class ClassesOptions(Options):
    """Two classes of a labelled set: images of class `input` are given, the like of those of class `output` is wanted.

    Nothing says which image belongs to which, so this is for `loss.objective: unpaired` alone.
    """

    kind: Literal["classes"]
    input: Annotated[str, Field(min_length=1)]
    output: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _two_classes(self) -> Self:
        if self.input == self.output:
            raise ValueError(f"input={self.input} and output={self.output}: expected two classes; change one of them")
        return self


class SideBySideOptions(Options):
    """Pairs beside each other in one image, as in the published sets of pix2pix; `input` is the half that is given."""

    kind: Literal["side_by_side"]
    input: Literal["left", "right"]


class FoldersOptions(Options):
    """Pairs of image files of the same name in two folders, which are called `input` and `output`.

    Both may have folders for splits, or lie in such: `A/train/1.png` and `train/A/1.png` are the same.
    """

    kind: Literal["folders"]
    input: Annotated[str, Field(pattern=r"^[^/\\]+$")]
    output: Annotated[str, Field(pattern=r"^[^/\\]+$")]

    @model_validator(mode="after")
    def _two_folders(self) -> Self:
        if self.input == self.output:
            raise ValueError(f"input={self.input} and output={self.output}: expected two folders; change one of them")
        return self


DegradationOptions = (
    SuperresolveOptions | DenoiseOptions | DeblurOptions | ColouriseOptions | InpaintOptions | InvertOptions
)
PairsOptions = SideBySideOptions | FoldersOptions
InputsOptions = Annotated[DegradationOptions | PairsOptions | ClassesOptions, Field(discriminator="kind")]


def kinds_of(inputs: InputsOptions) -> tuple[str, str]:
    """The names of the two kinds of images that a translator knows: what it makes, and what it is given."""
    return (inputs.output, inputs.input) if isinstance(inputs, ClassesOptions) else ("images", "inputs")
