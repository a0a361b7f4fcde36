import copy

import pytest
import torch
from torch import nn

from ganlib.networks.spectral import SpectralNorms, spectral_norm


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3), nn.Linear(5, 7), nn.Embedding(4, 9)])
def test_spectral_norm_brings_the_largest_singular_value_to_one(layer):
    norms = SpectralNorms(spectral_norm(layer))
    for _ in range(500):
        norms.renew()
    largest = torch.linalg.svdvals(layer.weight.detach().flatten(1)).max()
    torch.testing.assert_close(largest, torch.tensor(1.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(3, 8, 4), nn.Linear(5, 7)])
def test_spectral_norm_trains_as_that_of_pytorch(layer):
    """Which iterates at every access, its own first one included; bit for bit, then to the rounding of derivatives."""
    twin = copy.deepcopy(layer)
    torch.manual_seed(0)
    ours = spectral_norm(layer)
    torch.manual_seed(0)
    theirs = nn.utils.parametrizations.spectral_norm(twin)
    norms, rounding = SpectralNorms(ours), 0.0
    norms.renew()
    for _ in range(3):
        norms.renew()
        weights = ours.weight, theirs.weight
        torch.testing.assert_close(*weights, rtol=rounding, atol=rounding)
        for each, weight in zip((ours, theirs), weights, strict=True):
            weight.square().sum().backward()
            with torch.no_grad():
                original = each.parametrizations.weight.original
                original -= 0.1 * original.grad
        rounding = 1e-5
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 3), nn.ConvTranspose2d(3, 5, 4), nn.Linear(5, 7)])
@pytest.mark.parametrize("training", [True, False])
def test_the_derivative_is_that_of_a_weight_over_its_singular_value(layer, training):
    layer = spectral_norm(copy.deepcopy(layer)).double().train(training)
    normed = layer.parametrizations.weight[0]
    SpectralNorms(layer).renew()
    weight = layer.parametrizations.weight.original
    pull = torch.randn_like(weight)
    (found,) = torch.autograd.grad(layer.weight, weight, pull)
    matrix = weight.movedim(normed.dim, 0).flatten(1)
    u = normed._u if training else nn.functional.normalize(matrix.detach() @ normed._v, dim=0)
    (expected,) = torch.autograd.grad(weight / (u @ (matrix @ normed._v)), weight, pull)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_passes_between_two_updates_change_nothing():
    layer = spectral_norm(nn.Conv2d(3, 8, 3))
    before = copy.deepcopy(layer.state_dict())
    outputs = [layer(torch.ones(1, 3, 4, 4)) for _ in range(3)]
    assert torch.equal(outputs[0], outputs[2])
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


def test_what_is_loaded_is_normed_as_where_it_came_from():
    """Bit for bit: a resumed training goes on as if it had not stopped."""
    first, second = spectral_norm(nn.Linear(5, 7)), spectral_norm(nn.Linear(5, 7))
    SpectralNorms(first).renew()
    assert not torch.equal(first.weight, second.weight)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.weight, second.weight)


def test_spectral_norm_of_averaged_singular_vectors():
    """An average of unit vectors is shorter; in evaluation mode that must not matter."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(5, 7))
    norms = SpectralNorms(layer)
    for _ in range(50):
        norms.renew()
    layer.eval()
    before = layer.weight
    with torch.no_grad():
        for buffer in layer.buffers():
            buffer *= 0.8
    torch.testing.assert_close(layer.weight, before)
    assert torch.linalg.svdvals(layer.weight.detach()).max().item() == pytest.approx(1, rel=1e-4)
