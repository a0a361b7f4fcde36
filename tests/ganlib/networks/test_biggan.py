import numpy as np
import pytest
import torch
from torch import nn

from ganlib.networks import build_critic, build_generator
from ganlib.networks.biggan import BigganGenerator, VectorBatchNorm2d
from tests.ganlib.networks.families import biggan, image_spec

CIFAR = {
    "size": 32, "latent_dim": 80, "generator_widths": (384,) * 4, "critic_widths": (192,) * 4, "critic_halvings": 2,
    "embedding_dim": 128, "attention_size": 16,
}  # fmt: skip
IMAGENET = {
    "size": 128, "latent_dim": 120, "generator_widths": (1536, 1536, 768, 384, 192, 96),
    "critic_widths": (96, 192, 384, 768, 1536, 1536), "critic_halvings": 5, "embedding_dim": 128, "attention_size": 64,
}  # fmt: skip
TEN = tuple("abcdefghij")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_at_the_published_cifar_settings():
    options, spec = biggan(**CIFAR), image_spec(32, 3, TEN)
    with torch.device("meta"):
        assert count(build_generator(options, spec)) == 9_416_196
        assert count(build_critic(options, spec)) == 2_415_170


def test_without_labels_the_norms_lose_the_class_vector():
    options, spec = biggan(**CIFAR, conditional=False), image_spec(32, 3, TEN)
    with torch.device("meta"):
        assert count(build_generator(options, spec)) == 9_416_196 - 10 * 128 - 6 * 2 * 128 * 384
        assert count(build_critic(options, spec)) == 2_415_170 - 10 * 192


def test_parameters_at_the_published_imagenet_settings():
    """As the authors' own code counts them."""
    options, spec = biggan(**IMAGENET), image_spec(128, 3, tuple(map(str, range(1000))))
    with torch.device("meta"):
        assert count(build_generator(options, spec)) == 70_433_988
        assert count(build_critic(options, spec)) == 87_982_370


@pytest.mark.parametrize("build", [build_generator, build_critic])
def test_weights_start_orthogonal(build):
    torch.manual_seed(0)
    network = build(biggan(generator_widths=(32, 24, 16)), image_spec(channels=3))
    weights = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            normed = nn.utils.parametrize.is_parametrized(module)
            assert normed == (name != "embedding")
            weights[name] = module.parametrizations.weight.original if normed else module.weight
            assert getattr(module, "bias", None) is None or not module.bias.any()
    assert len(weights) > 10
    for weight in weights.values():
        rows = weight.detach().flatten(1).double()
        gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=1e-5)


def test_vector_batch_norm():
    torch.manual_seed(0)
    layer = VectorBatchNorm2d(3, 5).double().eval()
    layer.norm.running_mean.copy_(torch.randn(3))
    layer.norm.running_var.copy_(torch.rand(3) + 0.5)
    features, condition = torch.randn(2, 3, 2, 2).double(), torch.randn(2, 5).double()
    found = layer(features, condition).detach().numpy()
    gains, biases = (
        matrix / np.linalg.norm(matrix, 2)
        for matrix in (each.parametrizations.weight.original.detach().numpy() for each in (layer.gain, layer.bias))
    )
    mean, var = layer.norm.running_mean.numpy(), layer.norm.running_var.numpy()
    for n, c, i, j in np.ndindex(2, 3, 2, 2):
        normalised = (features[n, c, i, j].item() - mean[c]) / np.sqrt(var[c] + 1e-4)
        vector = condition[n].numpy()
        expected = (1 + gains[c] @ vector) * normalised + biases[c] @ vector
        assert found[n, c, i, j] == pytest.approx(expected, rel=1e-5)


def test_each_chunk_of_the_latent_enters_at_its_resolution():
    """A change of chunk k leaves all features before block k alone."""
    torch.manual_seed(0)
    network = BigganGenerator(
        channels=1, latent_dim=8, widths=(16, 8, 8, 8), num_classes=0, embedding_dim=1, attention_size=16
    ).eval()
    seen: list[torch.Tensor] = []
    for layer in (network.stem, *network.blocks):
        layer.register_forward_hook(lambda layer, _, output: seen.append(output))
    latents = torch.randn(1, 8)
    network(latents, None)
    plain = list(seen)
    for chunk in range(4):
        seen.clear()
        moved = latents.clone()
        moved[:, 2 * chunk : 2 * chunk + 2] += 1
        network(moved, None)
        same = [torch.equal(before, after) for before, after in zip(plain, seen, strict=True)]
        assert same == [True] * chunk + [False] * (4 - chunk)


def test_attention_is_at_its_resolution_in_the_generator():
    network = build_generator(biggan(**CIFAR | {"generator_widths": (8, 8, 24, 8)}), image_spec(32, 3))
    sizes = []
    network.attention.register_forward_hook(lambda layer, _, output: sizes.append(output.shape[1:]))
    network(torch.randn(2, 80), torch.tensor([0, 1]))
    assert sizes == [(24, 16, 16)]
