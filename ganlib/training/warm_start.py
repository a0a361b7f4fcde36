"""Going on from a trained generator and its critic, on other data."""

from pathlib import Path

from torch import nn

from ganlib.config import ImageSpec, InitialisationOptions, NetworkOptions
from ganlib.errors import UserError
from ganlib.networks.base import Critic, Generator
from ganlib.packaging import Description, ImageGenerator, generator_sha256, load_critic, read_description


def warm_start(
    generator: Generator,
    critic: Critic,
    folder: Path,
    options: InitialisationOptions,
    network: NetworkOptions,
    image: ImageSpec,
) -> None:
    """Give both networks the weights of a saved generator and its critic, in place and on their devices.

    Class names may differ from the saved ones, their number may not where the networks are conditional.
    Nothing is changed unless everything fits.

    Args:
        generator: built from `network` and `image`, as is `critic`.
        critic: gets the weights that lie beside the generator.
        folder: what `ImageGenerator.save` wrote, with the critic.
        options: the content address that the folder must have, and how many layers are to be frozen.
        network: what the networks were built from.
        image: likewise.

    Raises:
        UserError: the folder is missing or damaged, has another address, holds no critic or other networks,
            or the critic has fewer layers than are to be frozen.
    """
    check_starting_point(folder, options, network, image)
    frozen_parameters(critic, options.freeze_critic_layers)
    saved_generator, saved_critic = ImageGenerator.load(folder).generator, load_critic(folder)
    generator.load_state_dict(saved_generator.state_dict())
    critic.load_state_dict(saved_critic.state_dict())


def check_starting_point(
    folder: Path,
    options: InitialisationOptions,
    network: NetworkOptions,
    image: ImageSpec,
    *,
    classes_known: bool = True,
) -> None:
    """See that a saved generator is the one that is meant, has its critic, and fits; reads no weights into networks.

    Args:
        folder: what `ImageGenerator.save` wrote.
        options: the content address that the folder must have.
        network: of the networks to start.
        image: of the data to train on.
        classes_known: false before the data have been looked at: then the number of classes is not compared.

    Raises:
        UserError: the first thing that does not fit.
    """
    found = generator_sha256(folder)
    if not found.startswith(options.sha256):
        raise UserError(
            f"train.init_from.sha256={options.sha256[:16]}: the generator in {folder} is {found[:16]}…; "
            f"if that is the one you mean, set train.init_from.sha256 to {found}"
        )
    saved = read_description(folder)
    if saved.critic_sha256 is None:
        raise UserError(
            f"train.init_from.source={options.source}: holds a generator without its critic; "
            "choose one that was saved with it"
        )
    _check_network(saved, network, options.source)
    _check_image(saved, network, image, options.source, classes_known=classes_known)


def frozen_parameters(critic: Critic, count: int) -> list[nn.Parameter]:
    """The parameters of the `count` layers nearest to the image (FreezeD: Mo et al. 2020).

    Raises:
        UserError: the critic has fewer such layers.
    """
    layers = critic.lower_layers()
    if count > len(layers):
        raise UserError(
            f"train.init_from.freeze_critic_layers={count}: the critic has {len(layers)} lower layers; "
            f"set it to 0 to {len(layers)}"
        )
    return [parameter for layer in layers[:count] for parameter in layer.parameters()]


def _check_network(saved: Description, network: NetworkOptions, source: str) -> None:
    mine, theirs = network.model_dump(), saved.network.model_dump()
    for name in ("family", *mine):  # of another family, the other options do not compare
        if mine[name] != theirs[name]:
            raise UserError(_misfit(f"network.{name}", mine[name], theirs[name], source))


def _check_image(
    saved: Description, network: NetworkOptions, image: ImageSpec, source: str, *, classes_known: bool
) -> None:
    if image.size != saved.image.size:
        raise UserError(_misfit("data.image_size", image.size, saved.image.size, source))
    if image.channels != saved.image.channels:
        raise UserError(_misfit("data.channels", image.channels, saved.image.channels, source))
    if network.conditional and classes_known and image.num_classes != saved.image.num_classes:
        raise UserError(
            f"train.init_from.source={source}: its networks know {saved.image.num_classes} classes, found "
            f"{image.num_classes} in data.source; bring as many, or start from another generator"
        )


def _misfit(name: str, found: object, expected: object, source: str) -> str:
    return (
        f"{name}: found {_yaml(found)}, expected {_yaml(expected)} as in train.init_from.source={source}; "
        "change it, or start from another generator"
    )


def _yaml(value: object) -> str:
    """A value as params.yaml has it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return str(list(value))
        case _:
            return str(value)
