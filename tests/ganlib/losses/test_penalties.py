import pytest
import torch
from torch import nn
from torch.func import functional_call

from ganlib.losses import zero_centered_penalty
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
        critic = DcganCritic(channels=1, size=8, width=2, num_classes=2, norm=norm, projection=kind != "plane")
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
