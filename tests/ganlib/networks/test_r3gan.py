import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganlib.networks.r3gan import R3ganCritic, R3ganGenerator, ResidualBlock

CIFAR = {"channels": 3, "widths": (768,) * 4, "blocks_per_stage": 2, "group_width": 16, "expansion": 2}
TINY = {"channels": 3, "widths": (24, 12, 8), "blocks_per_stage": 2, "group_width": 4, "expansion": 2}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("num_classes", "generator_count", "critic_count"), [(0, 20_732_160, 20_683_776), (10, 20_781_952, 21_280_512)]
)
def test_parameters_at_the_published_cifar_settings(num_classes, generator_count, critic_count):
    with torch.device("meta"):
        generator = R3ganGenerator(**CIFAR, latent_dim=64, embedding_dim=64, num_classes=num_classes)
        critic = R3ganCritic(**CIFAR, num_classes=num_classes)
    assert count(generator) == generator_count
    assert count(critic) == critic_count


def test_residual_blocks_start_as_the_identity():
    torch.manual_seed(0)
    features = torch.randn(2, 8, 5, 5)
    assert torch.equal(ResidualBlock(width=8, group_width=4, expansion=2, total_blocks=8)(features), features)


def test_published_initialisation():
    torch.manual_seed(0)
    block = ResidualBlock(width=64, group_width=16, expansion=2, total_blocks=8)
    gain = math.sqrt(2 / (1 + 0.2**2)) * 8**-0.25
    assert block.expand.weight.std().item() == pytest.approx(gain / math.sqrt(64), rel=0.05)
    assert block.mix.weight.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.05)
    assert not block.reduce.weight.any()
    assert not block.expand.bias.any()
    wide = TINY | {"widths": (256, 128, 64)}
    critic = R3ganCritic(**wide, num_classes=20)
    generator = R3ganGenerator(**wide, latent_dim=40, embedding_dim=24, num_classes=20)
    gain = math.sqrt(2 / (1 + 0.2**2)) * 6**-0.25  # 3 stages of 2 blocks
    for network in (generator, critic):
        assert network.base[0].expand.weight.std().item() == pytest.approx(gain / 16, rel=0.05)
    assert generator.basis.std().item() == pytest.approx(1, rel=0.05)
    assert generator.scale.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    assert generator.embedding.weight.std().item() == pytest.approx(1 / math.sqrt(20), rel=0.15)
    assert critic.pool.std().item() == pytest.approx(1 / 4, rel=0.05)
    assert critic.embedding.weight.std().item() == pytest.approx(1 / math.sqrt(256 * 20), rel=0.05)


def test_fresh_networks_are_linear_between_their_ends():
    """All blocks being the identity, resampling and 1 x 1 layers alone remain."""
    torch.manual_seed(0)
    critic = R3ganCritic(**TINY, num_classes=0).double()
    generator = R3ganGenerator(**TINY, latent_dim=6, embedding_dim=0, num_classes=0).double()
    a, b = torch.randn(2, 3, 16, 16).double(), torch.randn(2, 3, 16, 16).double()
    torch.testing.assert_close(critic(a + 2 * b, None), critic(a, None) + 2 * critic(b, None))
    z, w = torch.randn(2, 6).double(), torch.randn(2, 6).double()
    torch.testing.assert_close(generator(z + 2 * w, None), generator(z, None) + 2 * generator(w, None))


def test_block_is_a_grouped_bottleneck_with_biased_leaky_relus():
    torch.manual_seed(0)
    block = ResidualBlock(width=8, group_width=4, expansion=2, total_blocks=8).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    features = torch.randn(2, 8, 5, 5).double()
    hidden = torch.einsum("oi,nihw->nohw", block.expand.weight[..., 0, 0], features)
    hidden = F.leaky_relu(hidden + block.expand.bias[:, None, None], 0.2)
    groups = [
        F.conv2d(part, weight, padding=1)
        for part, weight in zip(hidden.split(4, dim=1), block.mix.weight.split(4), strict=True)
    ]
    hidden = F.leaky_relu(torch.cat(groups, dim=1) + block.mix.bias[:, None, None], 0.2)
    expected = features + torch.einsum("oi,nihw->nohw", block.reduce.weight[..., 0, 0], hidden)
    torch.testing.assert_close(block(features), expected)


def test_critic_ends_in_a_depthwise_convolution_and_a_class_product():
    torch.manual_seed(0)
    critic = R3ganCritic(**TINY, num_classes=5).double()
    images, labels = torch.randn(3, 3, 16, 16).double(), torch.tensor([4, 0, 2])
    pooled = F.conv2d(critic.base(critic.body(critic.stem(images))), critic.pool[:, None], groups=24)
    one_hot = F.one_hot(labels, 5).double()
    expected = ((pooled.flatten(1) @ critic.head.weight.T) * (one_hot @ critic.embedding.weight)).sum(dim=1)
    torch.testing.assert_close(critic(images, labels), expected)
