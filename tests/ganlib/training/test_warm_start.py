"""Starting from a saved generator and its critic: all of it, or nothing and one line."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from ganlib.config import ImageSpec, InitialisationOptions, NetworkOptions
from ganlib.errors import UserError
from ganlib.networks import Critic, Generator, build_critic, build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.training.warm_start import check_starting_point, frozen_parameters, warm_start
from tests.frozen import with_weights

IMAGE = ImageSpec(size=16, channels=1, classes=("ant", "bee", "cow"))
COMMON = {"conditional": True, "latent_dim": 6}
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"generator_widths": [8, 12], "critic_widths": [12, 8], "critic_dropout": 0.0, "embedding_dim": 3},
    "dcgan": {
        "generator_width": 4, "generator_stem": "normed", "generator_spectral_norm": False,
        "generator_excitation": False, "upsampling": "transposed", "critic_width": 4, "critic_norm": "spectral",
        "critic_convolutions": 1, "critic_pooling": "none", "critic_dropout": 0.0, "critic_pretrained": None,
        "conditional_batch_norm": True, "projection": True,
    },
    "resnet": {
        "generator_widths": [8, 8, 8], "critic_widths": [8, 8, 8], "critic_halvings": 2, "upsampling": "nearest",
        "critic_norm": "spectral",
    },
    "biggan": {
        "generator_widths": [8, 8, 8], "critic_widths": [8, 8, 8], "critic_halvings": 2, "embedding_dim": 3,
        "attention_size": 8,
    },
    "r3gan": {
        "widths": [8, 8, 8], "blocks_per_stage": 1, "group_width": 4, "expansion": 2, "embedding_dim": 3,
    },
}  # fmt: skip
OTHER_VALUES = {
    "conditional": False, "latent_dim": 9, "generator_width": 8, "generator_stem": "linear",
    "generator_spectral_norm": True, "generator_excitation": True,
    "critic_width": 8, "critic_norm": "none", "critic_convolutions": 2,
    "critic_pooling": "sum", "critic_dropout": 0.5, "critic_pretrained": "efficientnet-lite0",
    "conditional_batch_norm": False, "projection": False,
    "critic_halvings": 1, "embedding_dim": 4, "attention_size": None, "blocks_per_stage": 2, "group_width": 2,
    "expansion": 1,
}  # fmt: skip
OTHER_VALUES_OF = {
    ("mlp", "generator_widths"): [8, 16], ("mlp", "critic_widths"): [8], ("dcgan", "upsampling"): "resize",
    ("resnet", "generator_widths"): [16, 8, 8], ("resnet", "critic_widths"): [8, 8],
    ("resnet", "upsampling"): "bilinear", ("biggan", "generator_widths"): [16, 8, 8],
    ("biggan", "critic_widths"): [8, 8], ("r3gan", "widths"): [16, 8, 8],
}  # fmt: skip
OPTIONS: TypeAdapter[NetworkOptions] = TypeAdapter(NetworkOptions)


def network(family: str, **changes: Any) -> NetworkOptions:
    return OPTIONS.validate_python({"family": family, **COMMON, **FAMILIES[family], **changes})


def networks(options: NetworkOptions, image: ImageSpec = IMAGE, seed: int = 0) -> tuple[Generator, Critic]:
    torch.manual_seed(seed)
    return build_generator(options, image), with_weights(build_critic(options, image))


def saved(folder: Path, options: NetworkOptions, image: ImageSpec = IMAGE) -> tuple[Generator, Critic]:
    """Trained a little: what batch norm and spectral norm keep has moved from its start."""
    generator, critic = networks(options, image, seed=1)
    labels = torch.tensor([0, 1, 2, 0]) if options.conditional else None
    critic(generator(torch.randn(4, options.latent_dim), labels), labels)
    ImageGenerator(generator, options, image, {"seen_images": 4}).save(folder, critic=critic)
    return generator, critic


def initialisation(folder: Path, freeze: int = 0, sha256: str | None = None) -> InitialisationOptions:
    address = sha256 or generator_sha256(folder)[:8]
    return InitialisationOptions(source=str(folder), sha256=address, freeze_critic_layers=freeze)


def weights(*found: torch.nn.Module) -> list[dict[str, torch.Tensor]]:
    return [copy.deepcopy(each.state_dict()) for each in found]


def assert_equal(found: list[dict[str, torch.Tensor]], expected: list[dict[str, torch.Tensor]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_both_networks_get_all_weights_and_go_on_learning(family: str, conditional: bool, tmp_path: Path) -> None:
    options = network(family, conditional=conditional)
    expected = weights(*saved(tmp_path, options))
    generator, critic = networks(options)
    before = list(generator.parameters()), list(critic.parameters())
    other_names = IMAGE.model_copy(update={"classes": ("dog", "elk", "fox")})
    warm_start(generator, critic, tmp_path, initialisation(tmp_path), options, other_names)
    assert_equal(weights(generator, critic), expected)
    for old, new in zip(before, (generator.parameters(), critic.parameters()), strict=True):
        assert all(a is b for a, b in zip(old, new, strict=True)), "an optimiser may hold them already"
    assert all(each.requires_grad for module in (generator, critic) for each in module.parameters())
    assert generator.training
    assert critic.training


@pytest.mark.parametrize(
    ("family", "name"),
    [(family, name) for family in FAMILIES for name in {**COMMON, **FAMILIES[family]}],
)
def test_each_option_is_named_and_nothing_is_changed(family: str, name: str, tmp_path: Path) -> None:
    saved(tmp_path, network(family))
    value = OTHER_VALUES_OF.get((family, name), OTHER_VALUES.get(name))
    options = network(family, **{name: value})
    generator, critic = networks(options)
    before = weights(generator, critic)
    with pytest.raises(UserError, match=rf"^network\.{name}: found .*, expected .* as in train\.init_from") as caught:
        warm_start(generator, critic, tmp_path, initialisation(tmp_path), options, IMAGE)
    assert "\n" not in str(caught.value)
    assert_equal(weights(generator, critic), before)


@pytest.mark.parametrize(
    ("changes", "image", "line"),
    [
        ({"family": "mlp"}, {}, "network.family: found mlp, expected dcgan as in train.init_from.source="),
        ({"conditional": False}, {}, "network.conditional: found false, expected true as in"),
        ({}, {"size": 32}, "data.image_size: found 32, expected 16 as in"),
        ({}, {"channels": 4}, "data.channels: found 4, expected 1 as in"),
        ({}, {"classes": ("ant", "bee")}, "its networks know 3 classes, found 2 in data.source"),
    ],
)
def test_the_first_misfit(changes: dict[str, Any], image: dict[str, Any], line: str, tmp_path: Path) -> None:
    saved(tmp_path, network("dcgan"))
    options = network(**{"family": "dcgan", **changes})
    wanted = IMAGE.model_copy(update=image)
    generator, critic = networks(options, wanted)
    before = weights(generator, critic)
    with pytest.raises(UserError) as caught:
        warm_start(generator, critic, tmp_path, initialisation(tmp_path), options, wanted)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert_equal(weights(generator, critic), before)


def test_unconditional_networks_care_for_no_classes(tmp_path: Path) -> None:
    options = network("dcgan", conditional=False)
    saved(tmp_path, options)
    for classes in ((), ("one",)):
        image = IMAGE.model_copy(update={"classes": classes})
        warm_start(*networks(options, image), tmp_path, initialisation(tmp_path), options, image)


def test_before_the_data_are_known_classes_are_not_compared(tmp_path: Path) -> None:
    saved(tmp_path, network("dcgan"))
    unknown = IMAGE.model_copy(update={"classes": ()})
    check_starting_point(tmp_path, initialisation(tmp_path), network("dcgan"), unknown, classes_known=False)
    with pytest.raises(UserError, match="know 3 classes, found 0"):
        check_starting_point(tmp_path, initialisation(tmp_path), network("dcgan"), unknown)


def test_another_address_is_told_with_the_right_one(tmp_path: Path) -> None:
    options = network("dcgan")
    saved(tmp_path, options)
    address = generator_sha256(tmp_path)
    with pytest.raises(UserError) as caught:
        warm_start(*networks(options), tmp_path, initialisation(tmp_path, sha256="0" * 12), options, IMAGE)
    assert str(caught.value).startswith("train.init_from.sha256=000000000000: the generator in ")
    assert str(caught.value).endswith(f"set train.init_from.sha256 to {address}")
    warm_start(*networks(options), tmp_path, initialisation(tmp_path, sha256=address), options, IMAGE)


@pytest.mark.parametrize("name", ["generator.json", "generator.safetensors", "critic.safetensors"])
def test_missing_files_are_one_line(name: str, tmp_path: Path) -> None:
    options = network("dcgan")
    saved(tmp_path, options)
    chosen = initialisation(tmp_path)
    (tmp_path / name).unlink()
    generator, critic = networks(options)
    before = weights(generator, critic)
    with pytest.raises(UserError, match=name) as caught:
        warm_start(generator, critic, tmp_path, chosen, options, IMAGE)
    assert "\n" not in str(caught.value)
    assert_equal(weights(generator, critic), before)


def test_a_generator_without_its_critic(tmp_path: Path) -> None:
    options = network("dcgan")
    ImageGenerator(networks(options)[0], options, IMAGE, {"seen_images": 4}).save(tmp_path)
    with pytest.raises(UserError, match=r"train\.init_from\.source=.*: holds a generator without its critic"):
        warm_start(*networks(options), tmp_path, initialisation(tmp_path), options, IMAGE)


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_layers_are_the_lowest(family: str, tmp_path: Path) -> None:
    options = network(family)
    saved(tmp_path, options)
    generator, critic = networks(options)
    count = len(critic.lower_layers())
    assert count > 0
    assert frozen_parameters(critic, 0) == []
    sizes = [len(frozen_parameters(critic, number)) for number in range(count + 1)]
    assert sizes == sorted(sizes)
    everything = [id(parameter) for parameter in critic.parameters()]
    frozen = [id(parameter) for parameter in frozen_parameters(critic, count)]
    assert len(set(frozen)) == len(frozen) < len(everything)
    assert set(frozen) < set(everything)
    warm_start(generator, critic, tmp_path, initialisation(tmp_path, freeze=count), options, IMAGE)
    line = rf"train\.init_from\.freeze_critic_layers={count + 1}: the critic has {count} lower layers; set it to 0 to"
    with pytest.raises(UserError, match=line):
        warm_start(generator, critic, tmp_path, initialisation(tmp_path, freeze=count + 1), options, IMAGE)
