"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, without squeeze and swish), whose weights a package brings."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib.pretrained.colours import on_white
from ganlib.pretrained.weights import reading
from ganlib.weightless import weightless

STEM, HEAD = 32, 1280
NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """Inverted bottlenecks one after another; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16), Stage(2, 3, 2, 6, 24), Stage(2, 5, 2, 6, 40), Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112), Stage(4, 5, 2, 6, 192), Stage(1, 3, 1, 6, 320),
)  # fmt: skip


def levels_of(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in [-1, 1] as the network takes them: RGB [N, 3, H, W], (level - 127) / 128 of 0 to 255."""
    return on_white(images) * (127.5 / 128) + 0.5 / 128


def load_efficientnet_lite0(path: Path, convolution: type[nn.Conv2d] = nn.Conv2d) -> nn.Sequential:
    """The network with the weights in a file of the package's layout, on the CPU, frozen.

    Raises:
        UserError: it holds others, or code.
    """
    with weightless():
        model = efficientnet_lite0(convolution)
    with reading(path, "efficientnet-lite0"):
        published = torch.load(path, map_location="cpu", weights_only=True)
        layers = [layer for layer, module in model.named_modules() if isinstance(module, nn.Conv2d)]
        model.load_state_dict(_folded(published, layers), assign=True)
    return model.eval().requires_grad_(False)


def efficientnet_lite0(convolution: type[nn.Conv2d] = nn.Conv2d) -> nn.Sequential:
    """RGB [N, 3, H, W] -> feature maps [N, 1280, H / 32, W / 32]; batch norm is part of the convolutions."""
    blocks, width = [], STEM
    for stage in STAGES:
        for index in range(stage.blocks):
            stride = stage.stride if index == 0 else 1
            blocks.append(_Bottleneck(convolution, width, stage.width, stage.kernel, stride, stage.expansion))
            width = stage.width
    first = _layer(convolution, 3, STEM, 3, stride=2)
    return nn.Sequential(first, *blocks, _layer(convolution, width, HEAD, 1))


class _Bottleneck(nn.Module):
    """[N, I, H, W] -> [N, O, H / stride, W / stride]: widened, filtered channel by channel, narrowed."""

    def __init__(
        self, convolution: type[nn.Conv2d], inputs: int, outputs: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = expansion * inputs
        self.layers = nn.Sequential(
            *([_layer(convolution, inputs, wide, 1)] if expansion > 1 else []),
            _layer(convolution, wide, wide, kernel, stride=stride, groups=wide),
            convolution(wide, outputs, 1),
        )
        self.skips = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.layers(features)
        return features + found if self.skips else found


def _layer(
    convolution: type[nn.Conv2d], inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """With ReLU6; of even sides, padded as TensorFlow does: where the number is odd, one more at the end."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    even = before == after
    layer = convolution(inputs, outputs, kernel, stride, padding=before if even else 0, groups=groups)
    pads = [] if even else [nn.ZeroPad2d((before, after, before, after))]
    return nn.Sequential(*pads, layer, nn.ReLU6())


def _folded(published: dict[str, Tensor], layers: list[str]) -> dict[str, Tensor]:
    """The package's weights for our layers, in the same order, each batch norm made part of the convolution before."""
    names = list(published)
    convolutions = [name for name in names if published[name].ndim == 4]
    found = {}
    for ours, theirs in zip(layers, convolutions, strict=True):
        norm = names[names.index(theirs) + 1].removesuffix(".weight")
        scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + NORM_EPSILON).sqrt()
        found[f"{ours}.weight"] = published[theirs].float() * scale[:, None, None, None]
        found[f"{ours}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    return found
