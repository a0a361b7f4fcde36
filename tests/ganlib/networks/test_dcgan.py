import pytest
import torch
from torch import nn

from ganlib.networks.dcgan import DcganCritic, DcganGenerator
from ganlib.networks.spectral import SpectralNorms


def generator(**changes) -> DcganGenerator:
    settings = {
        "size": 16, "channels": 1, "latent_dim": 64, "width": 16, "num_classes": 10, "conditional_batch_norm": True,
        "stem": "normed", "spectral": False, "excitation": False, "upsampling": "transposed",
    }  # fmt: skip
    return DcganGenerator(**settings | changes)


def critic(**changes) -> DcganCritic:
    settings = {
        "size": 16, "channels": 1, "width": 16, "num_classes": 10, "norm": "spectral", "projection": True,
        "convolutions": 1, "pooling": "none", "dropout": 0.0,
    }  # fmt: skip
    return DcganCritic(**settings | changes)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_measured_digits_recipe():
    assert count(generator()) == 108_881
    assert count(critic()) == 89_409


def test_parameters_of_the_benchmarks_version_for_cifar():
    """3.81 M and 2.93 M, layer by layer; biases that batch norm would cancel are left out."""
    shape = {"size": 32, "channels": 3, "width": 64, "num_classes": 0}
    convolutions = [(3, 64, 3), (64, 64, 4), (64, 128, 3), (128, 128, 4), (128, 256, 3), (256, 256, 4), (256, 512, 3)]
    weights = sum(before * after * side**2 for before, after, side in convolutions)
    outputs = sum(after for _, after, _ in convolutions)
    benchmark = {"convolutions": 2, "pooling": "sum"}
    for norm, extra in [("batch", 64 + 2 * (outputs - 64)), ("spectral", outputs), ("none", outputs)]:
        expected = weights + extra + 512 + 1
        assert count(critic(**shape, **benchmark, norm=norm)) == expected
        assert round(expected / 1e6, 2) == 2.93
    expected = 129 * 512 * 16 + 16 * (512 * 256 + 256 * 128 + 128 * 64) + 2 * (256 + 128 + 64) + 64 * 3 * 9 + 3
    assert count(generator(**shape, latent_dim=128, stem="linear")) == expected
    assert round(expected / 1e6, 2) == 3.81


def test_linear_stem_is_followed_by_the_first_upsampling():
    network = generator(stem="linear", num_classes=0)
    latents = torch.randn(3, 64)
    seen = []
    network.upsamplers[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    network(latents, None)
    expected = latents @ network.stem.weight.T + network.stem.bias
    torch.testing.assert_close(seen[0].flatten(1), expected)


def test_excitation_scales_the_channels_at_full_resolution() -> None:
    torch.manual_seed(0)
    network = generator(excitation=True, num_classes=0).eval()
    first, last = 64, 16
    assert count(network.excitation) == first * last * 16 + last + last * last + last
    assert count(network) == count(generator(num_classes=0)) + count(network.excitation)
    latents, seen = torch.randn(3, 64), []
    network.output.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    network(latents, None)
    scales = network.excitation(network.activation(network.stem_norm(network.stem(latents).unflatten(1, (-1, 4, 4)))))
    assert scales.shape == (3, last, 1, 1)
    assert 0.5 < scales.min() < scales.max() < 1.5
    network.excitation = None
    network(latents, None)
    torch.testing.assert_close(seen[0], seen[1] * scales)


def test_resizing_repeats_pixels_before_a_convolution():
    torch.manual_seed(0)
    network = generator(upsampling="resize", width=4)
    features = torch.randn(2, 16, 4, 4)
    convolution = next(each for each in network.upsamplers[0].modules() if isinstance(each, nn.Conv2d))
    repeated = features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = nn.functional.conv2d(repeated, convolution.weight, padding=1)
    torch.testing.assert_close(network.upsamplers[0](features), expected)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_every_layer_of_a_spectral_generator_is_normalised(upsampling):
    torch.manual_seed(0)
    network = generator(spectral=True, upsampling=upsampling)
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        for _ in range(100):
            weight = layer.weight.detach()
        matrix = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
        assert torch.linalg.svdvals(matrix.flatten(1)).max().item() == pytest.approx(1, rel=0.02)


def test_pooled_critic_projects_on_sums_over_positions():
    torch.manual_seed(0)
    network = critic(norm="none", width=4, pooling="sum", convolutions=2)
    images, labels = torch.randn(3, 1, 16, 16), torch.tensor([3, 0, 9])
    features = network.features(images).sum(dim=(2, 3))
    expected = (features * (network.head.weight[0] + network.projected.weight[labels])).sum(dim=1) + network.head.bias
    torch.testing.assert_close(network(images, labels), expected)


def test_dropout_follows_every_activation_and_drops_whole_channels():
    network = critic(dropout=0.5)
    kinds = [type(layer).__name__ for layer in network.features]
    assert kinds == [*["ParametrizedConv2d", "LeakyReLU", "Dropout2d"] * 4]
    planes = network.features[:3](torch.randn(8, 1, 16, 16)).flatten(2)
    dropped = (planes == 0).all(dim=2)
    assert 0.3 < dropped.float().mean() < 0.7
    assert (planes[~dropped] != 0).all()


@pytest.mark.parametrize("size", [16, 32, 64])
def test_widths_double_at_each_halving(size):
    convolutions = [layer for layer in critic(size=size).features if isinstance(layer, nn.Conv2d)]
    top = 16 * size // 4
    assert [layer.out_channels for layer in convolutions] == [*(16 << i for i in range(size.bit_length() - 2)), top]
    assert generator(size=size).stem.out_features == top * 16


def test_every_weight_of_a_spectral_critic_is_normalised():
    network = critic()
    norms = SpectralNorms(network)
    for _ in range(100):
        norms.renew()
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
