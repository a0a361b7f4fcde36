import pytest
import torch
from torch import nn

from ganlib.networks.dcgan import DcganCritic, DcganGenerator


def generator(**changes) -> DcganGenerator:
    settings = {
        "size": 16, "channels": 1, "latent_dim": 64, "width": 16, "num_classes": 10, "conditional_batch_norm": True,
    }  # fmt: skip
    return DcganGenerator(**settings | changes)


def critic(**changes) -> DcganCritic:
    settings = {"size": 16, "channels": 1, "width": 16, "num_classes": 10, "norm": "spectral", "projection": True}
    return DcganCritic(**settings | changes)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_measured_digits_recipe():
    assert count(generator()) == 108_881
    assert count(critic()) == 89_409


@pytest.mark.parametrize("size", [16, 32, 64])
def test_widths_double_at_each_halving(size):
    convolutions = [layer for layer in critic(size=size).features if isinstance(layer, nn.Conv2d)]
    top = 16 * size // 4
    assert [layer.out_channels for layer in convolutions] == [*(16 << i for i in range(size.bit_length() - 2)), top]
    assert generator(size=size).stem.out_features == top * 16


def test_every_weight_of_a_spectral_critic_is_normalised():
    network = critic()
    for _ in range(100):  # power iterations: one an access
        weights = [
            module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding)
        ]
    assert len(weights) == 6
    for weight in weights:
        torch.testing.assert_close(
            torch.linalg.svdvals(weight.detach().flatten(1)).max().item(), 1.0, rtol=0.02, atol=0
        )


def test_power_iterations_stop_in_evaluation_mode():
    network = critic().eval()
    images, labels = torch.randn(2, 1, 16, 16), torch.tensor([3, 4])
    assert torch.equal(network(images, labels), network(images, labels))


def test_projection_is_an_inner_product_beside_the_unconditional_logit():
    torch.manual_seed(0)
    network = critic(norm="none", width=4)
    images, labels = torch.randn(3, 1, 16, 16), torch.tensor([3, 0, 9])
    features = network.features(images).flatten(1)
    expected = [
        torch.dot(features[i], network.head.weight[0] + network.projected.weight[labels[i]]) + network.head.bias[0]
        for i in range(3)
    ]
    torch.testing.assert_close(network(images, labels), torch.stack(expected))


def test_two_training_passes_may_share_one_backward():
    torch.manual_seed(0)
    network = critic()
    images, labels = torch.randn(4, 1, 16, 16), torch.arange(4)
    (network(images, labels) - network(-images, labels)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_batch_norm_follows_every_convolution_but_the_first():
    kinds = [type(layer).__name__ for layer in critic(norm="batch").features]
    assert kinds == ["Conv2d", "LeakyReLU"] + ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3


@pytest.mark.parametrize("norm", ["spectral", "batch", "none"])
def test_projection_starts_on_the_scale_of_the_features(norm):
    torch.manual_seed(0)
    network = critic(norm=norm)
    row_norms = network.projected.weight.detach().norm(dim=1)
    assert 0.7 < row_norms.min() < row_norms.max() < 1.3
