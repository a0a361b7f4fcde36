import torch
from torch import nn
from torch.nn import functional as F

from ganlib.networks.mlp import MlpCritic, MlpGenerator

MNIST = {"size": 28, "channels": 1, "embedding_dim": 10}


def generator(**changes) -> MlpGenerator:
    return MlpGenerator(**MNIST | {"latent_dim": 100, "widths": (128, 256), "num_classes": 0} | changes)


def critic(**changes) -> MlpCritic:
    return MlpCritic(**MNIST | {"widths": (256, 128), "num_classes": 0, "dropout": 0.0} | changes)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_at_the_size_of_mnist():
    # A matrix a layer, gain and bias a normed unit, biases elsewhere.
    assert count(generator()) == 100 * 128 + 2 * 128 + 128 * 256 + 2 * 256 + 256 * 784 + 784
    assert count(critic()) == 784 * 256 + 256 + 256 * 128 + 128 + 128 + 1
    assert count(generator(num_classes=10)) - count(generator()) == 10 * 10 + 10 * 128
    assert count(critic(num_classes=10)) - count(critic()) == 10 * 10 + 10 * 256


def test_generator_by_hand():
    torch.manual_seed(0)
    network = generator(num_classes=10).double()
    latents, labels = torch.randn(4, 100).double(), torch.tensor([3, 0, 9, 3])
    features = torch.cat([latents, F.one_hot(labels, 10).double() @ network.embedding.weight], dim=1)
    for layer in (layer for layer in network.hidden if isinstance(layer, nn.Linear)):
        features = features @ layer.weight.T
        features = (features - features.mean(dim=0)) / (features.var(dim=0, correction=0) + 1e-5).sqrt()
        features = torch.where(features > 0, features, 0.2 * features)
    expected = torch.tanh(features @ network.output.weight.T + network.output.bias)
    torch.testing.assert_close(network(latents, labels).flatten(1), expected)


def test_critic_by_hand():
    torch.manual_seed(0)
    network = critic(num_classes=10).double()
    images, labels = torch.randn(3, 1, 28, 28).double(), torch.tensor([4, 0, 2])
    features = torch.cat([images.reshape(3, 784), network.embedding.weight[labels]], dim=1)
    for layer in (layer for layer in network.features if isinstance(layer, nn.Linear)):
        features = features @ layer.weight.T + layer.bias
        features = torch.where(features > 0, features, 0.2 * features)
    expected = features @ network.head.weight[0] + network.head.bias
    torch.testing.assert_close(network(images, labels), expected)


def test_dropout_scales_what_it_keeps():
    torch.manual_seed(0)
    network = critic(widths=(4096,), dropout=0.25)
    features = network.features(torch.ones(1, 784))
    plain = network.eval().features(torch.ones(1, 784))
    kept = features != 0
    assert 0.7 < kept.float().mean() < 0.8
    torch.testing.assert_close(features[kept], plain[kept] / 0.75)
