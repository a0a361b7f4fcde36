"""Convolutions whose second derivatives are convolutions too.

PyTorch differentiates the backward pass of a convolution group by group, and by the weight as a
convolution whose kernels are as large as the feature maps. Here each derivative is one call of
the kernels that every training uses, for any number of groups, and what nobody asks for is
not computed: gradients of constant kernels, and those of weights in `without_weight_gradients`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_weight_gradients_wanted = True  # of the process: on a GPU another thread runs the backward pass


@contextmanager
def without_weight_gradients() -> Iterator[None]:
    """While gradients of images alone are taken: autograd does not tell a layer which of its inputs they are of."""
    global _weight_gradients_wanted
    _weight_gradients_wanted = False
    try:
        yield
    finally:
        _weight_gradients_wanted = True


class Conv2d(nn.Conv2d):
    """PyTorch's, with zeros beyond the border."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride, padding = self.stride[0], int(self.padding[0])
        return convolve(input, weight, bias, stride=stride, padding=padding, groups=self.groups)


class DoublingConv2d(Conv2d):
    """3 x 3 over pixels that are repeated to twice the side: [N, C, H, W] -> [N, C', 2H, 2W].

    In one transposed convolution with a 4 x 4 kernel of the same weights: 16 products a pixel in place of 36.
    """

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 3, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', 2H, 2W]."""
        # Sums of 2 x 2 weights. ONNX knows no other divisor than 4, by which a power of two divides without rounding.
        kernel = 4 * F.avg_pool2d(self.weight.flip(2, 3), 2, stride=1, padding=1).transpose(0, 1)
        return convolve(input, kernel, self.bias, stride=2, padding=1, transposed=True)


class HalvingConv2d(Conv2d):
    """3 x 3, then the mean of 2 x 2 pixels: [N, C, H, W] -> [N, C', H/2, W/2].

    In one convolution with a 4 x 4 kernel of the same weights: 16 products a pixel in place of 36.
    """

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 3, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H/2, W/2]."""
        kernel = F.avg_pool2d(self.weight, 2, stride=1, padding=1)
        return convolve(input, kernel, self.bias, stride=2, padding=1)


def convolve(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    transposed: bool = False,
) -> Tensor:
    """As `F.conv2d`, or `F.conv_transpose2d` where `transposed`; it can be differentiated twice."""
    kind = features.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind) and features.dtype != torch.float64:
        half = torch.get_autocast_dtype(kind)
        features, weight, bias = features.to(half), weight.to(half), None if bias is None else bias.to(half)
    slide = _Slide((stride,) * 2, (padding,) * 2, (1, 1), transposed, (0, 0), groups)
    if torch.compiler.is_compiling():  # what is compiled is never differentiated twice
        return torch.convolution(features, weight, bias, *slide)
    outputs: Tensor = _Convolution.apply(features, weight, bias, slide)
    return outputs


class _Slide(NamedTuple):
    """How a convolution slides, in the order of PyTorch's operators."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    transposed: bool
    output_padding: tuple[int, int]
    groups: int


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: Tensor, weight: Tensor, bias: Tensor | None, slide: _Slide) -> Tensor:
        context.save_for_backward(features, weight)
        context.bias_shape, context.slide = None if bias is None else bias.shape, slide
        return torch.convolution(features, weight, bias, *slide)

    @staticmethod
    def backward(context: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
        features, weight = context.saved_tensors
        of_features, *of_weights = context.needs_input_grad[:3]
        wanted = (of_features, *(each and _weight_gradients_wanted for each in of_weights))
        return *_Gradients.apply(pull, features, weight, context.bias_shape, context.slide, wanted), None


class _Gradients(torch.autograd.Function):
    """The gradients of a convolution by its features, weight and bias, which are bilinear in what they are made of."""

    @staticmethod
    def forward(
        context: Any,
        pull: Tensor,
        features: Tensor,
        weight: Tensor,
        bias_shape: torch.Size | None,
        slide: _Slide,
        wanted: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        context.save_for_backward(pull, features, weight)
        context.slide = slide
        context.set_materialize_grads(False)
        return _gradients(pull, features, weight, bias_shape, slide, wanted)

    @staticmethod
    @once_differentiable
    def backward(
        context: Any, by_features: Tensor | None, by_weight: Tensor | None, by_bias: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        pull, features, weight = context.saved_tensors
        slide = context.slide
        of_pull, of_features, of_weight = context.needs_input_grad[:3]
        to_pull = to_features = to_weight = None
        if by_features is not None:
            if of_pull:
                to_pull = torch.convolution(by_features, weight, None, *slide)
            if of_weight:
                _, to_weight, _ = _gradients(pull, by_features, weight, None, slide, (False, True, False))
        if by_weight is not None:
            if of_pull:
                to_pull = _sum(to_pull, torch.convolution(features, by_weight, None, *slide))
            if of_features:
                to_features, _, _ = _gradients(pull, features, by_weight, None, slide, (True, False, False))
        if by_bias is not None and of_pull:
            to_pull = _sum(to_pull, by_bias[:, None, None].expand_as(pull))
        return to_pull, to_features, to_weight, None, None, None


def _gradients(
    pull: Tensor,
    features: Tensor,
    weight: Tensor,
    bias_shape: torch.Size | None,
    slide: _Slide,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        pull, features, weight, bias_shape, *slide, wanted
    )
    return found


def _sum(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one + other
