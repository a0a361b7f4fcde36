"""Features of EfficientNet-Lite0, whose weights a package brings."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib.config import PretrainedName
from ganlib.metrics.extractors.base import Extractor, Features
from ganlib.metrics.extractors.resizing import resized
from ganlib.pretrained.efficientnet import levels_of, load_efficientnet_lite0
from ganlib.pretrained.weights import sha256_of

INPUT_SIZE = 224


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
        seen = resized(levels_of(images), INPUT_SIZE).contiguous(memory_format=torch.channels_last)
        values = self.model(seen).mean(dim=(2, 3))
        return Features(values, values[:, :0])


def load_efficientnet(name: PretrainedName, path: Path, device: torch.device) -> EfficientNetExtractor:
    """With the weights in a file of the package's layout.

    Raises:
        UserError: it holds others, or code.
    """
    return EfficientNetExtractor(name, load_efficientnet_lite0(path), sha256_of(path), device)
