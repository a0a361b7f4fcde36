"""Augmentation: of the real images, and of all that the critic sees."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from ganlib.config.base import Options, PositiveInt, Probability, ScheduledProbability


class NoAugmentationOptions(Options):
    """The critic sees the images as they are."""

    policy: Literal["none"]


class DiffAugmentOptions(Options):
    """DiffAugment (Zhao et al. 2020): every image, in the critic's and the generator's step.

    `translation` and `cutout` are shares of the image's side; 0 switches them off.
    """

    policy: Literal["diffaugment"]
    colour: StrictBool
    translation: Probability
    cutout: Probability

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.colour or self.translation or self.cutout):
            raise ValueError("policy=diffaugment with everything switched off; set policy to none")
        return self


class ScheduledControl(Options):
    """The probability of each transformation as a function of images shown."""

    kind: Literal["scheduled"]
    probability: ScheduledProbability


class AdaptiveControl(Options):
    """The probability follows an overfitting heuristic (Karras et al. 2020, ADA, section 3.1).

    Every `every_images` it moves by `every_images / full_range_images` up or
    down, so that the mean sign of the critic's logits on real images, above
    the logit at which it is undecided, tends to `target`. It starts at 0.
    """

    kind: Literal["adaptive"]
    target: Annotated[float, Field(gt=-1, lt=1)]
    full_range_images: PositiveInt
    every_images: PositiveInt


class AdaOptions(Options):
    """The ADA pipe (Karras et al. 2020, appendix B): groups of transformations.

    A transformation is applied with the controlled probability times the
    figure of its group; 0 switches the group off.
    """

    policy: Literal["ada"]
    control: Annotated[ScheduledControl | AdaptiveControl, Field(discriminator="kind")]
    blit: Probability
    geometry: Probability
    colour: Probability
    noise: Probability
    cutout: Probability

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not (self.blit or self.geometry or self.colour or self.noise or self.cutout):
            raise ValueError("policy=ada with every group at 0; set policy to none")
        return self


CriticAugmentation = Annotated[NoAugmentationOptions | DiffAugmentOptions | AdaOptions, Field(discriminator="policy")]


class AugmentationOptions(Options):
    """`mirror` flips real images with probability 1/2, and the generator learns that; `critic` must not leak."""

    mirror: StrictBool
    critic: CriticAugmentation
