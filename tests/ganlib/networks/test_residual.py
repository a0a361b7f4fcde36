"""Blocks and critic against the published order of operations, written out plainly."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ganlib.networks.attention import SelfAttention
from ganlib.networks.biggan import STYLE as ORTHOGONAL
from ganlib.networks.residual import DownBlock, LayerStyle, ResidualCritic, UpBlock
from ganlib.networks.resnet import PLAIN


def features(channels: int = 6, size: int = 8) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, channels, size, size).double()


def conv(layer: nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
    return F.conv2d(inputs, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def randomise_biases(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_up_block(upsampling):
    block = UpBlock(6, 4, style=PLAIN, norm=nn.BatchNorm2d, upsampling=upsampling).double()
    randomise_biases(block)

    def up(tensor: torch.Tensor) -> torch.Tensor:
        return F.interpolate(tensor, scale_factor=2, mode=upsampling)

    def norm(tensor: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        mean, var = tensor.mean(dim=(0, 2, 3), keepdim=True), tensor.var(dim=(0, 2, 3), correction=0, keepdim=True)
        return (tensor - mean) / (var + 1e-5).sqrt() + bias[:, None, None]

    inputs = features()
    hidden = conv(block.expand, up(norm(inputs, block.norm_in.bias).relu()))
    hidden = conv(block.refine, norm(hidden, block.norm_out.bias).relu())
    torch.testing.assert_close(block(inputs), hidden + conv(block.shortcut, up(inputs)))


@pytest.mark.parametrize("halve", [False, True])
@pytest.mark.parametrize("from_pixels", [False, True])
@pytest.mark.parametrize("after", [6, 4])
def test_down_block(halve, from_pixels, after):
    block = DownBlock(6, after, style=PLAIN, from_pixels=from_pixels, halve=halve).double()
    randomise_biases(block)
    inputs = features()
    hidden = conv(block.refine, conv(block.expand, inputs if from_pixels else inputs.relu()).relu())
    shortcut = inputs
    if halve or after != 6:
        shortcut = conv(block.shortcut, inputs)
    expected = hidden + shortcut
    if halve:
        expected = F.avg_pool2d(expected, 2)
    torch.testing.assert_close(block(inputs.clone()), expected)


def test_critic_sums_positions_and_projects_the_class():
    critic = ResidualCritic(
        size=8, channels=3, widths=(6, 4), halvings=1, num_classes=5, style=PLAIN, attention_size=None
    ).double()
    images, labels = features(3), torch.tensor([4, 1])
    pooled = critic.blocks[1](critic.blocks[0](images)).relu().sum(dim=(2, 3))
    expected = pooled @ critic.head.weight[0] + critic.head.bias + (pooled * critic.projected.weight[labels]).sum(dim=1)
    torch.testing.assert_close(critic(images, labels), expected)


@pytest.mark.parametrize(
    ("halvings", "attention_size", "place"), [(2, 16, 1), (2, 8, 2), (1, 16, 1), (0, 32, 1), (2, None, None)]
)
def test_attention_follows_the_first_block_of_its_resolution(halvings, attention_size, place):
    critic = ResidualCritic(
        size=32, channels=1, widths=(8, 8, 8, 8), halvings=halvings, num_classes=0, style=PLAIN,
        attention_size=attention_size,
    )  # fmt: skip
    places = [index for index, block in enumerate(critic.blocks) if isinstance(block, SelfAttention)]
    assert places == ([] if place is None else [place])
    sizes = []
    for block in critic.blocks:
        block.register_forward_hook(lambda block, _, output: sizes.append((type(block), output.shape[2])))
    critic(torch.zeros(1, 1, 32, 32), None)
    assert attention_size is None or (SelfAttention, attention_size) in sizes


def test_xavier_initialisation_with_published_gains():
    torch.manual_seed(0)
    block = UpBlock(64, 32, style=PLAIN, norm=nn.BatchNorm2d, upsampling="nearest")
    for layer, gain, fans in [
        (block.expand, math.sqrt(2), 9 * (64 + 32)),
        (block.refine, math.sqrt(2), 9 * (32 + 32)),
        (block.shortcut, 1, 64 + 32),
        (PLAIN.linear(128, 64), 1, 128 + 64),
        (PLAIN.output(64, 3), 1, 9 * (64 + 3)),
    ]:
        bound = gain * math.sqrt(6 / fans)
        assert 0.97 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not layer.bias.any()


@pytest.mark.parametrize("style", [PLAIN, ORTHOGONAL])
def test_spectral_norm_is_on_every_layer_or_none(style: LayerStyle):
    critic = ResidualCritic(
        size=16, channels=3, widths=(8, 8), halvings=1, num_classes=3, style=style, attention_size=8
    )
    layers = [each for each in critic.modules() if isinstance(each, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) == 2 * 3 - 1 + 4 + 2
    for layer in layers:
        assert nn.utils.parametrize.is_parametrized(layer) == (style.spectral_epsilon is not None)
