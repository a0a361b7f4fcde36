"""How much the images of a batch differ, as critics see it."""

import torch

from ganlib.networks.minibatch_std import MinibatchStd


def test_each_group_has_the_deviations_of_its_own_images() -> None:
    torch.manual_seed(0)
    layer, features = MinibatchStd(5, 4).double(), torch.randn(12, 5, dtype=torch.float64)
    for start in range(0, 12, 4):
        group = features[start : start + 4]
        expected = (group.std(dim=0, correction=0) * layer.weights.weight).sum().expand(4)
        torch.testing.assert_close(layer(features)[start : start + 4], expected, rtol=1e-6, atol=1e-6)


def test_gradients_are_finite_where_all_images_are_the_same() -> None:
    layer, features = MinibatchStd(3, 4), torch.ones(8, 3, requires_grad=True)
    layer(features).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.zeros(8, 3))


def test_an_image_alone_has_a_logit_that_tells_of_it_alone() -> None:
    layer, features = MinibatchStd(3, 4).eval(), torch.randn(8, 3)
    assert torch.equal(layer(features), torch.zeros(8))


def test_the_slope_is_bounded_with_spectral_norm() -> None:
    """Moving each image of a batch by at most d moves a logit by at most d: deviations of groups are 1-Lipschitz."""
    torch.manual_seed(0)
    layer = MinibatchStd(16, 8)
    for _ in range(50):  # the power iteration
        layer(torch.randn(8, 16))
    before = torch.randn(8, 16)
    step = torch.nn.functional.normalize(torch.randn(8, 16), dim=1)
    assert (layer(before + step) - layer(before)).abs().max() <= 1.001
