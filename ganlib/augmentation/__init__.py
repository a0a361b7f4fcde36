"""Augmentation: flips of real images, and what stands between the images and the critic."""

from typing import assert_never

from ganlib.augmentation.ada import Ada
from ganlib.augmentation.base import Augment, mirror
from ganlib.augmentation.controller import ProbabilityControl
from ganlib.augmentation.diffaugment import DiffAugment
from ganlib.config import AdaOptions, CriticAugmentation, DiffAugmentOptions, ImageSpec, NoAugmentationOptions

__all__ = ["Augment", "ProbabilityControl", "build_augment", "mirror"]


def build_augment(options: CriticAugmentation, image: ImageSpec) -> Augment | None:
    """The augmentation of everything the critic sees; None where it sees the images as they are."""
    match options:
        case NoAugmentationOptions():
            return None
        case DiffAugmentOptions():
            return DiffAugment(options, image)
        case AdaOptions():
            return Ada(options, image)
        case _:
            assert_never(options)
