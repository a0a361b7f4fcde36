"""Networks by name: options in, modules out. A new family is one file and one case (docs/adding_a_network.md)."""

from typing import assert_never

from ganlib.config import (
    BigganOptions,
    CycleganOptions,
    DcganOptions,
    ImageSpec,
    MlpOptions,
    NetworkOptions,
    R3ganOptions,
    ResnetOptions,
    StarganOptions,
    UnetOptions,
)
from ganlib.errors import UserError
from ganlib.networks.base import Critic, Family, Generator
from ganlib.networks.biggan import biggan
from ganlib.networks.cyclegan import CycleCritic, CycleGenerator, cyclegan
from ganlib.networks.dcgan import dcgan
from ganlib.networks.encoder import Encoder
from ganlib.networks.frozen_features import FrozenFeaturesCritic
from ganlib.networks.mlp import mlp
from ganlib.networks.r3gan import r3gan
from ganlib.networks.resnet import resnet
from ganlib.networks.stargan import StarCritic, StarGenerator, stargan
from ganlib.networks.unet import unet
from ganlib.networks.ways import ManyWays

__all__ = [
    "Critic",
    "CycleCritic",
    "CycleGenerator",
    "Encoder",
    "FrozenFeaturesCritic",
    "Generator",
    "ManyWays",
    "StarCritic",
    "StarGenerator",
    "build_critic",
    "build_encoder",
    "build_generator",
]


def build_generator(options: NetworkOptions, image: ImageSpec) -> Generator:
    """A freshly initialised generator; global torch randomness decides its weights.

    Raises:
        UserError: the options do not fit the images (no labels, wrong size).
    """
    return _family(options, image).generator()


def build_critic(options: NetworkOptions, image: ImageSpec) -> Critic:
    """A freshly initialised critic; global torch randomness decides its weights.

    Raises:
        UserError: the options do not fit the images (no labels, wrong size).
    """
    return _family(options, image).critic()


def build_encoder(options: NetworkOptions, image: ImageSpec) -> Encoder:
    """A fresh encoder with the layers of the family's critic; global torch randomness decides its weights.

    Raises:
        UserError: the options do not fit the images (wrong size).
    """
    unconditional = options.model_copy(update={"conditional": False})
    return Encoder(build_critic(unconditional, image), latent_dim=options.latent_dim)


def _family(options: NetworkOptions, image: ImageSpec) -> Family:
    num_classes = _check_fit(options, image)
    match options:
        case MlpOptions():
            return mlp(options, image, num_classes)
        case DcganOptions():
            return dcgan(options, image, num_classes)
        case ResnetOptions():
            return resnet(options, image, num_classes)
        case BigganOptions():
            return biggan(options, image, num_classes)
        case R3ganOptions():
            return r3gan(options, image, num_classes)
        case CycleganOptions():
            return cyclegan(options, image, num_classes)
        case StarganOptions():
            return stargan(options, image, num_classes)
        case UnetOptions():
            return unet(options, image, num_classes)
        case _:
            assert_never(options)


def _check_fit(options: NetworkOptions, image: ImageSpec) -> int:
    """The classes that the networks are to know: 0 when unconditional."""
    try:
        options.check_size(image.size)
    except ValueError as error:
        raise UserError(str(error)) from None
    if options.conditional and not image.classes:
        raise UserError(
            "network.conditional=true needs labelled data, found none: "
            "put the images into class folders or set network.conditional to false"
        )
    return image.num_classes if options.conditional else 0
