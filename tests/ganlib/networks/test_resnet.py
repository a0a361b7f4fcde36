import pytest
import torch
from torch import nn

from ganlib.networks import build_critic, build_generator
from ganlib.networks.blocks import ConditionalBatchNorm2d
from tests.ganlib.networks.families import image_spec, resnet

CIFAR = {
    "size": 32, "latent_dim": 128, "generator_widths": (256,) * 4, "critic_widths": (128,) * 4, "critic_halvings": 2,
}  # fmt: skip
TEN = tuple("abcdefghij")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("conditional", "generator_count", "critic_count"), [(True, 4_304_387, 1_055_105), (False, 4_276_739, 1_053_825)]
)
def test_parameters_at_the_published_cifar_settings(conditional, generator_count, critic_count):
    """4.30 M and 1.06 M in the benchmark, which gives the networks labels; 4.28 M without them."""
    options, spec = resnet(**CIFAR, conditional=conditional), image_spec(32, 3, TEN)
    with torch.device("meta"):
        assert count(build_generator(options, spec)) == generator_count
        assert count(build_critic(options, spec)) == critic_count


@pytest.mark.parametrize("size", [64, 128])
def test_the_published_widths_of_larger_images_can_be_said(size):
    generator_widths = (1024, 512, 256, 128, 64) if size == 64 else (1024, 1024, 512, 256, 128, 64)
    critic_widths = (*reversed(generator_widths[:-1]),) if size == 64 else (64, 128, 256, 512, 1024, 1024)
    options = resnet(
        size, generator_widths=generator_widths, critic_widths=critic_widths, critic_halvings=len(critic_widths) - 1
    )
    with torch.device("meta"):
        images = build_generator(options, image_spec(size, 3))(torch.empty(2, 6), torch.zeros(2, dtype=torch.int64))
        assert build_critic(options, image_spec(size, 3))(images, torch.zeros(2, dtype=torch.int64)).shape == (2,)


def test_only_the_norms_of_the_blocks_know_the_class():
    network = build_generator(resnet(), image_spec())
    conditional = [name for name, each in network.named_modules() if isinstance(each, ConditionalBatchNorm2d)]
    assert conditional == ["blocks.0.norm_in", "blocks.0.norm_out", "blocks.1.norm_in", "blocks.1.norm_out"]
    assert isinstance(network.norm, nn.BatchNorm2d)


def test_spectral_norm_is_the_critics_alone():
    for norm, expected in [("spectral", True), ("none", False)]:
        options = resnet(critic_norm=norm)
        keys = build_critic(options, image_spec()).state_dict()
        assert any("_u" in key for key in keys) == expected
        assert not any("_u" in key for key in build_generator(options, image_spec()).state_dict())
