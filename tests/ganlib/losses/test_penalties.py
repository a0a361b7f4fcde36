import pytest
import torch
from torch import nn
from torch.func import functional_call

from ganlib.losses import interpolate, one_centered_penalty, zero_centered_penalty
from ganlib.networks.dcgan import DcganCritic
from ganlib.networks.r3gan import R3ganCritic


def images(count: int, size: int = 4) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(count, 1, size, size, dtype=torch.float64, requires_grad=True)


def test_linear_critic_pays_the_squared_norm_of_its_weights():
    weights, batch = torch.arange(16.0, dtype=torch.float64), images(3)
    penalty = zero_centered_penalty(batch.flatten(1) @ weights, batch)
    torch.testing.assert_close(penalty, torch.full((3,), sum(k * k for k in range(16)), dtype=torch.float64))


def test_quadratic_critic_pays_per_sample():
    # D(x) = x' A x with symmetric A: the gradient is 2 A x.
    batch = images(3)
    matrix = torch.randn(16, 16, dtype=torch.float64)
    matrix = matrix + matrix.T
    flat = batch.flatten(1)
    penalty = zero_centered_penalty(((flat @ matrix) * flat).sum(dim=1), batch)
    torch.testing.assert_close(penalty, 4 * (flat @ matrix).square().sum(dim=1))


def test_penalty_trains_the_weights():
    # d/dw |w|^2 = 2 w
    weights, batch = torch.randn(16, dtype=torch.float64, requires_grad=True), images(3)
    zero_centered_penalty(batch.flatten(1) @ weights, batch).mean().backward()
    torch.testing.assert_close(weights.grad, 2 * weights.detach())


def test_linear_critic_pays_its_distance_from_slope_one():
    # |grad| = |w|, so the penalty is (|w| - 1)^2 and its derivative 2 (|w| - 1) w / |w|.
    weights, batch = torch.randn(16, dtype=torch.float64, requires_grad=True), images(3)
    penalty = one_centered_penalty(batch.flatten(1) @ weights, batch)
    norm = weights.detach().square().sum().sqrt()
    torch.testing.assert_close(penalty.detach(), ((norm - 1) ** 2).expand(3))
    penalty.mean().backward()
    torch.testing.assert_close(weights.grad, 2 * (norm - 1) * weights.detach() / norm)


def test_quadratic_critic_pays_its_distance_from_slope_one_per_sample():
    # D(x) = |x|^2 / 2: the gradient is x.
    batch = images(3)
    penalty = one_centered_penalty(batch.square().sum(dim=(1, 2, 3)) / 2, batch)
    torch.testing.assert_close(penalty, (batch.flatten(1).norm(dim=1) - 1) ** 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_critic_pays_one_and_its_weights_stay_finite(dtype):
    weights, batch = torch.zeros(16, dtype=dtype, requires_grad=True), images(3).detach().to(dtype).requires_grad_()
    penalty = one_centered_penalty(batch.flatten(1) @ weights, batch)
    penalty.sum().backward()
    assert torch.equal(penalty, torch.ones(3, dtype=dtype))
    assert torch.equal(weights.grad, torch.zeros(16, dtype=dtype))


def test_loss_scale_keeps_half_precision_from_vanishing():
    weights, batch = torch.linspace(1e-8, 1e-7, 16), images(3).detach()

    def half(scale: torch.Tensor | float) -> torch.Tensor:
        # The slopes are below the smallest half number; a fixed factor behind them plays the deep network.
        pixels = batch.half().requires_grad_()
        logits = (pixels.flatten(1) * (weights * 1e4).half()).sum(dim=1) * 1e-2 * 1e-2
        return zero_centered_penalty(logits, pixels, loss_scale=scale)

    wide = batch.float().requires_grad_()
    expected = zero_centered_penalty(wide.flatten(1) @ weights, wide)
    assert half(1.0).dtype == torch.float32
    torch.testing.assert_close(half(torch.tensor(2.0**15)), expected, rtol=1e-2, atol=0)
    assert not torch.allclose(half(1.0), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("penalty", [zero_centered_penalty, one_centered_penalty])
def test_loss_scale_changes_nothing_in_wide_precision(penalty):
    weights, batch = torch.randn(16, dtype=torch.float64, requires_grad=True), images(3)
    results = []
    for scale in (1.0, torch.tensor(1024.0, dtype=torch.float64)):
        value = penalty((batch.flatten(1) @ weights).tanh(), batch, loss_scale=scale)
        results.append((value, *torch.autograd.grad(value.sum(), weights)))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)  # a power of two is exact


def test_interpolated_images_lie_on_the_line_between():
    real, fake, mixing = images(4).detach(), -2 * images(4).detach(), torch.tensor([0.0, 0.25, 0.75, 1.0])
    found = interpolate(real, fake, mixing)
    assert torch.equal(found[0], real[0])
    assert torch.equal(found[3], fake[3])
    shares = mixing.double().view(-1, 1, 1, 1)
    torch.testing.assert_close(found, (1 - shares) * real + shares * fake)


@pytest.mark.parametrize("penalty", [zero_centered_penalty, one_centered_penalty])
def test_penalty_derivatives_of_a_smooth_critic(penalty):
    batch = images(2, size=2)
    first, second = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((4, 5), (5,)))

    def of(pixels: torch.Tensor, hidden: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return penalty((pixels.flatten(1) @ hidden).tanh() @ out, pixels)

    assert torch.autograd.gradcheck(of, (batch, first, second))
    assert torch.autograd.gradgradcheck(of, (batch, first, second))


def test_images_without_gradients_are_a_programming_error():
    batch = images(2).detach()
    with pytest.raises(AssertionError, match="require gradients"):
        zero_centered_penalty(batch.sum(dim=(1, 2, 3)), batch)


def tiny_critic(kind: str) -> nn.Module:
    torch.manual_seed(1)
    if kind == "r3gan":
        critic: nn.Module = R3ganCritic(
            channels=1, widths=(4, 4), blocks_per_stage=1, group_width=2, expansion=1, num_classes=2
        )
        for layer in critic.modules():
            if isinstance(layer, nn.Conv2d) and not layer.weight.any():
                nn.init.normal_(layer.weight, std=0.5)
    else:
        norm = "spectral" if kind == "spectral" else "none"
        critic = DcganCritic(
            channels=1, size=8, width=2, num_classes=2, norm=norm, projection=kind != "plane", convolutions=1,
            pooling="none", dropout=0.0,
        )  # fmt: skip
    return critic.double().eval()  # evaluation mode: power iterations would move the function under test


@pytest.mark.parametrize("kind", ["r3gan", "projection", "plane", "spectral"])
def test_penalty_through_real_critics(kind):
    critic = tiny_critic(kind)
    batch, labels = images(2, size=8), torch.tensor([0, 1])
    names, initial = zip(*critic.named_parameters(), strict=True)
    parameters = [parameter.detach().requires_grad_() for parameter in initial]

    def penalty(pixels: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        logits = functional_call(critic, dict(zip(names, values, strict=True)), (pixels, labels[: len(pixels)]))
        return zero_centered_penalty(logits, pixels)

    assert torch.autograd.gradcheck(penalty, (batch, *parameters), fast_mode=True)
    alone = penalty(batch[:1].detach().requires_grad_(), *parameters)
    torch.testing.assert_close(alone, penalty(batch, *parameters)[:1])
