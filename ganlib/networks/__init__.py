"""Networks by name: options in, modules out. A new family is one file and one case in each `match`."""

from typing import assert_never

from ganlib.config import BASE_SIZE, DcganOptions, ImageSpec, NetworkOptions, R3ganOptions
from ganlib.errors import UserError
from ganlib.networks.base import Critic, Generator
from ganlib.networks.dcgan import DcganCritic, DcganGenerator
from ganlib.networks.r3gan import R3ganCritic, R3ganGenerator

__all__ = ["Critic", "Generator", "build_critic", "build_generator"]


def build_generator(options: NetworkOptions, image: ImageSpec) -> Generator:
    """A freshly initialised generator; global torch randomness decides its weights.

    Raises:
        UserError: the options do not fit the images (no labels, wrong size).
    """
    num_classes = _check_fit(options, image)
    match options:
        case DcganOptions():
            return DcganGenerator(
                size=image.size,
                channels=image.channels,
                latent_dim=options.latent_dim,
                width=options.generator_width,
                num_classes=num_classes,
                conditional_batch_norm=options.conditional_batch_norm,
            )
        case R3ganOptions():
            return R3ganGenerator(
                channels=image.channels,
                latent_dim=options.latent_dim,
                widths=options.widths,
                blocks_per_stage=options.blocks_per_stage,
                group_width=options.group_width,
                expansion=options.expansion,
                num_classes=num_classes,
                embedding_dim=options.embedding_dim,
            )
        case _:
            assert_never(options)


def build_critic(options: NetworkOptions, image: ImageSpec) -> Critic:
    """A freshly initialised critic; global torch randomness decides its weights.

    Raises:
        UserError: the options do not fit the images (no labels, wrong size).
    """
    num_classes = _check_fit(options, image)
    match options:
        case DcganOptions():
            return DcganCritic(
                size=image.size,
                channels=image.channels,
                width=options.critic_width,
                num_classes=num_classes,
                norm=options.critic_norm,
                projection=options.projection,
            )
        case R3ganOptions():
            return R3ganCritic(
                channels=image.channels,
                widths=options.widths,
                blocks_per_stage=options.blocks_per_stage,
                group_width=options.group_width,
                expansion=options.expansion,
                num_classes=num_classes,
            )
        case _:
            assert_never(options)


def _check_fit(options: NetworkOptions, image: ImageSpec) -> int:
    """The classes that the networks are to know: 0 when unconditional."""
    stages = (image.size // BASE_SIZE).bit_length()
    if stages < 2 or image.size != BASE_SIZE << (stages - 1):
        raise UserError(f"data.image_size={image.size}: expected {BASE_SIZE} times a power of two, such as 32")
    if isinstance(options, R3ganOptions) and len(options.widths) != stages:
        raise UserError(
            f"network.widths has {len(options.widths)} entries, expected {stages}: "
            f"one per resolution from {BASE_SIZE} to data.image_size={image.size}"
        )
    if options.conditional and not image.classes:
        raise UserError(
            "network.conditional=true needs labelled data, found none: "
            "put the images into class folders or set network.conditional to false"
        )
    return image.num_classes if options.conditional else 0
