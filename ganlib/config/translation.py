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


DegradationOptions = (
    SuperresolveOptions | DenoiseOptions | DeblurOptions | ColouriseOptions | InpaintOptions | InvertOptions
)
Degradation = Annotated[DegradationOptions, Field(discriminator="kind")]
AS_THEY_ARE = "images"


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


class StyleOptions(Options):
    """A style: its name, and how images are brought into it."""

    name: Annotated[str, Field(min_length=1)]
    degradation: Degradation


class DegradedStylesOptions(Options):
    """Images of a set in several styles: as they are, which is the style `images`, and made worse in each named way."""

    kind: Literal["styles"]
    styles: Annotated[tuple[StyleOptions, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        names = [AS_THEY_ARE, *(style.name for style in self.styles)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            why = "is the name of images as they are" if twice[0] == AS_THEY_ARE else "is there twice"
            raise ValueError(f"styles: {twice[0]} {why}; choose another name")
        return self


class ClassStylesOptions(Options):
    """Classes of a labelled set as styles; the first is the one that the gate judges."""

    kind: Literal["class_styles"]
    classes: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise ValueError(f"classes: {twice[0]} is there twice; name each class once")
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


PairsOptions = SideBySideOptions | FoldersOptions
StyleInputsOptions = DegradedStylesOptions | ClassStylesOptions
InputsOptions = Annotated[
    DegradationOptions | PairsOptions | ClassesOptions | DegradedStylesOptions | ClassStylesOptions,
    Field(discriminator="kind"),
]


def kinds_of(inputs: InputsOptions) -> tuple[str, ...]:
    """The names of the kinds of images that a translator knows: what it makes, and what it is given, or its styles."""
    match inputs:
        case ClassesOptions():
            return inputs.output, inputs.input
        case DegradedStylesOptions():
            return AS_THEY_ARE, *(style.name for style in inputs.styles)
        case ClassStylesOptions():
            return inputs.classes
        case _:
            return AS_THEY_ARE, "inputs"


def classes_of(inputs: InputsOptions | None) -> dict[str, str]:
    """The classes that are kinds of images, each by the parameter that names it; none where images are degraded."""
    match inputs:
        case ClassesOptions():
            return {"data.inputs.output": inputs.output, "data.inputs.input": inputs.input}
        case ClassStylesOptions():
            return {f"data.inputs.classes[{place}]": name for place, name in enumerate(inputs.classes)}
        case _:
            return {}
