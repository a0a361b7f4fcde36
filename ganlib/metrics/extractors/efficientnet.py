"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, without squeeze and swish), whose weights a package brings."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib.config import PretrainedName
from ganlib.metrics.extractors.base import Extractor, Features, on_white
from ganlib.metrics.extractors.resizing import resized
from ganlib.metrics.extractors.weights import reading, sha256_of
from ganlib.weightless import weightless

INPUT_SIZE = 224
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


class EfficientNetExtractor(Extractor):
    """The mean of the last 1,280 feature maps, which tell 1,000 kinds of things in photographs apart; no logits."""

    alpha = "on_white"

    def __init__(self, name: PretrainedName, model: nn.Module, weights_sha256: str, device: torch.device) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.device = device
        self.pass_images = 8 if device.type == "cpu" else 64
        self.model = model.to(device).to(memory_format=torch.channels_last)

    def look(self, images: Tensor) -> Features:
        """Images [N, C, H, W] in [-1, 1] of any size -> features [N, 1280], and logits [N, 0]."""
        # Of levels from 0 to 255 the network takes (level - 127) / 128.
        levels = on_white(images) * (127.5 / 128) + 0.5 / 128
        values = self.model(resized(levels, INPUT_SIZE).contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))
        return Features(values, values[:, :0])


def load_efficientnet(name: PretrainedName, path: Path, device: torch.device) -> EfficientNetExtractor:
    """With the weights in a file of the package's layout.

    Raises:
        UserError: it holds others, or code.
    """
    with weightless():
        model = _network()
    with reading(path, name):
        published = torch.load(path, map_location="cpu", weights_only=True)
        layers = [layer for layer, module in model.named_modules() if isinstance(module, nn.Conv2d)]
        model.load_state_dict(_folded(published, layers), assign=True)
    return EfficientNetExtractor(name, model.float().eval().requires_grad_(False), sha256_of(path), device)


def _network() -> nn.Sequential:
    """RGB [N, 3, 224, 224] -> feature maps [N, 1280, 7, 7]; batch norm is part of the convolutions."""
    blocks, width = [], STEM
    for stage in STAGES:
        for index in range(stage.blocks):
            stride = stage.stride if index == 0 else 1
            blocks.append(_Bottleneck(width, stage.width, stage.kernel, stride, stage.expansion))
            width = stage.width
    return nn.Sequential(_convolution(3, STEM, 3, stride=2), *blocks, _convolution(width, HEAD, 1))


class _Bottleneck(nn.Module):
    """[N, I, H, W] -> [N, O, H / stride, W / stride]: widened, filtered channel by channel, narrowed."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.layers = nn.Sequential(
            *([_convolution(inputs, wide, 1)] if expansion > 1 else []),
            _convolution(wide, wide, kernel, stride=stride, groups=wide),
            nn.Conv2d(wide, outputs, 1),
        )
        self.skips = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.layers(features)
        return features + found if self.skips else found


def _convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """With ReLU6; of even sides, padded as TensorFlow does: where the number is odd, one more at the end."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    pad = nn.ZeroPad2d((before, after, before, after))
    return nn.Sequential(pad, nn.Conv2d(inputs, outputs, kernel, stride, groups=groups), nn.ReLU6())


def _folded(published: dict[str, Tensor], layers: list[str]) -> dict[str, Tensor]:
    """The package's weights for our layers, in the same order, each batch norm made part of the convolution before."""
    names = list(published)
    convolutions = [name for name in names if published[name].ndim == 4]
    found = {}
    for ours, theirs in zip(layers, convolutions, strict=True):
        norm = names[names.index(theirs) + 1].removesuffix(".weight")
        scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + NORM_EPSILON).sqrt()
        found[f"{ours}.weight"] = published[theirs] * scale[:, None, None, None]
        found[f"{ours}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    return found
