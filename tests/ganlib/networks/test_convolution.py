"""Convolutions against PyTorch's, to their second derivatives; and how few calls these take."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ganlib.networks.convolution import Conv2d, DoublingConv2d, HalvingConv2d, convolve, without_weight_gradients

CASES: dict[str, dict[str, Any]] = {
    "plain": {"channels": 4, "groups": 1, "kernel": 3, "stride": 1, "transposed": False},
    "halving": {"channels": 4, "groups": 1, "kernel": 4, "stride": 2, "transposed": False},
    "grouped": {"channels": 12, "groups": 6, "kernel": 3, "stride": 1, "transposed": False},
    "depthwise": {"channels": 6, "groups": 6, "kernel": 4, "stride": 2, "transposed": False},
    "depthwise up": {"channels": 6, "groups": 6, "kernel": 4, "stride": 2, "transposed": True},
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions, forward and backward."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += "convolution" in func.overloadpacket.__name__
        return func(*args, **(kwargs or {}))


def tensors(case: dict[str, Any], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    channels, kernel = case["channels"], case["kernel"]
    shapes = (2, channels, 8, 8), (channels, channels // case["groups"], kernel, kernel), (channels,)
    made = [torch.randn(shape, generator=draw, dtype=dtype) for shape in shapes]
    return made[0].to(memory_format=torch.channels_last), made[1], made[2]


def theirs(case: dict[str, Any], features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    operator = F.conv_transpose2d if case["transposed"] else F.conv2d
    return operator(features, weight, bias, stride=case["stride"], padding=1, groups=case["groups"])


def ours(case: dict[str, Any], features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    settings = {name: case[name] for name in ("stride", "groups", "transposed")}
    return convolve(features, weight, bias, padding=1, **settings)


@each_case
def test_values_and_first_derivatives_are_bit_for_bit_those_of_pytorch(case):
    found = []
    for operator in (theirs, ours):
        inputs = [each.requires_grad_() for each in tensors(case, torch.float32)]
        outputs = operator(case, *inputs)
        outputs.square().sum().backward()
        found.append([outputs, *(each.grad for each in inputs)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@each_case
def test_second_derivatives_by_everything_are_those_of_pytorch(case):
    """Of a function in which each first derivative counts, and not linearly."""
    found = []
    for operator in (theirs, ours):
        inputs = [each.requires_grad_() for each in tensors(case)]
        slopes = torch.autograd.grad(operator(case, *inputs).sin().sum(), inputs, create_graph=True)
        sum(each.square().sum() for each in slopes).backward()
        found.append([each.grad for each in inputs])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@each_case
def test_second_derivatives_against_differences(case):
    features, weight, bias = tensors(case)
    inputs = [each.clone().requires_grad_() for each in (features[:, :, :4, :4], weight, bias)]
    assert torch.autograd.gradgradcheck(lambda *given: ours(case, *given).sin(), inputs, fast_mode=True)


@pytest.mark.parametrize("constant", [False, True])
@each_case
def test_a_penalty_takes_few_calls_for_any_number_of_groups(case, constant):
    """Forward, backward to the features, that again, and both to the weight; PyTorch takes one for each group."""
    features, weight, _ = tensors(case)
    weight.requires_grad_(not constant)
    features.requires_grad_()
    with Convolutions() as convolutions:
        outputs = ours(case, features, weight, None)
        with without_weight_gradients():
            (slope,) = torch.autograd.grad(outputs.sin().sum(), features, create_graph=True)
        slope.square().sum().backward()
    assert convolutions.count <= (4 if constant else 5)
    assert (weight.grad is None) == constant


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_rounds_as_with_pytorchs_layer(precision):
    torch.manual_seed(0)
    layer, plain = Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(3, 8, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    features = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", precision):
        found, expected = layer(features), plain(features)
    assert found.dtype == expected.dtype == precision
    assert torch.equal(found, expected)
    for outputs in (found, expected):
        outputs.float().square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert torch.equal(layer.weight.grad, plain.weight.grad)
    with torch.autocast("cpu", precision):
        assert layer.double()(features.double()).dtype == torch.float64


def test_weight_gradients_come_back_after_an_error():
    features, weight, _ = (each.requires_grad_() for each in tensors(CASES["plain"]))
    with pytest.raises(ZeroDivisionError), without_weight_gradients():
        raise ZeroDivisionError
    convolve(features, weight).sum().backward()
    assert weight.grad is not None


def doubled_then_convolved(layer: Conv2d, features: Tensor) -> Tensor:
    repeated = F.interpolate(features, scale_factor=2, mode="nearest")
    return F.conv2d(repeated, layer.weight, layer.bias, padding=1)


def convolved_then_halved(layer: Conv2d, features: Tensor) -> Tensor:
    return F.avg_pool2d(F.conv2d(features, layer.weight, layer.bias, padding=1), 2)


@pytest.mark.parametrize(
    ("kind", "two_steps"), [(DoublingConv2d, doubled_then_convolved), (HalvingConv2d, convolved_then_halved)]
)
def test_resampling_convolutions_are_the_two_steps_to_their_second_derivatives(kind, two_steps):
    torch.manual_seed(0)
    layer = kind(3, 5).double()
    features = torch.randn(2, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    inputs = [features, layer.weight, layer.bias]
    found = []
    for outputs in (layer(features), two_steps(layer, features)):
        slopes = torch.autograd.grad(outputs.sin().sum(), inputs, create_graph=True)
        seconds = torch.autograd.grad(sum(each.square().sum() for each in slopes), inputs)
        found.append([outputs, *slopes, *seconds])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
