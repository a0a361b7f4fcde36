"""A critic that sees the pixels and, beside them, what a frozen pretrained network makes of them (Sauer et al. 2021).

The paper's critics see frozen features alone, mixed over the scales. Here an ordinary critic of the pixels is one
critic more, images are seen at their own size, and nothing is mixed. Without labels generators would make few kinds of
images: there each critic of frozen features also sees how much these differ within a group of images.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib.config import COMPARED_IMAGES
from ganlib.networks.base import Critic, assert_labels_match
from ganlib.networks.blocks import full_precision, leaky_relu
from ganlib.networks.convolution import Conv2d
from ganlib.networks.minibatch_std import MinibatchStd
from ganlib.networks.spectral import spectral_norm
from ganlib.pretrained.efficientnet import efficientnet_lite0, levels_of, load_efficientnet_lite0
from ganlib.weightless import weightless

# The layers of EfficientNet-Lite0 that lead to a quarter, an eighth and a sixteenth of the side, and their channels.
SCALES = ((0, 4, 24), (4, 6, 40), (6, 12, 112))
HEAD_WIDTH = 32
FEATURE_SIZE = 9.0  # the root mean square of the features of photographs at each scale: heads are given 1


class FrozenFeaturesCritic(Critic):
    """A critic of the pixels and one small critic for each scale of frozen features: logits [N, 1 + scales].

    Made without weights of the frozen network: `bring` or `load_state_dict(…, assign=True)` has them.

    Args:
        pixels: the critic of the pixels, any that gives a logit for each image.
    """

    def __init__(self, pixels: Critic) -> None:
        compares = pixels.num_classes == 0
        super().__init__(
            num_classes=pixels.num_classes,
            couples_samples=pixels.couples_samples or compares,
            feature_dim=pixels.feature_dim,
        )
        self.pixels = pixels
        self.heads = nn.ModuleList(_Head(channels, pixels.num_classes) for _, _, channels in SCALES)
        with weightless():
            self.frozen = _scales(efficientnet_lite0(Conv2d))
        self.frozen.requires_grad_(False)

    def bring(self, weights: Path) -> None:
        """Give the frozen network the weights in a file of its package's layout.

        Raises:
            UserError: it holds others, or code.
        """
        self.frozen = _scales(load_efficientnet_lite0(weights, Conv2d))

    def embed(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """The features of the pixels' critic, [N, F]."""
        return self.pixels.embed(images, condition)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> logits [N, 1 + scales]."""
        assert_labels_match(condition, self.num_classes)
        logits = [self.pixels(images, condition)]
        logits += [head(maps, condition) for head, maps in zip(self.heads, self._look(images), strict=True)]
        return torch.stack(logits, dim=1)

    def can_share_a_pass(self, images: int) -> bool:
        """Also where images are compared, if no group then has both kinds."""
        return not self.pixels.couples_samples and (not self.couples_samples or images % COMPARED_IMAGES == 0)

    def _look(self, images: Tensor) -> Iterator[Tensor]:
        """[N, C, H, W] -> features at each scale, [N, channels, h, w]."""
        maps = levels_of(images)
        assert images.is_meta or not next(self.frozen.parameters()).is_meta, "bring the frozen network's weights first"
        for part in self.frozen:
            maps = part(maps)
            yield maps / FEATURE_SIZE

    def lower_layers(self) -> list[nn.Module]:
        """Those of the pixels' critic."""
        return self.pixels.lower_layers()


class _Head(nn.Module):
    """A small critic of the features at one scale, with spectral norm and projection (Miyato & Koyama 2018).

    Features are summed over all positions and divided by the root of their number, which bounds the slope of the sum.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(spectral_norm(Conv2d(channels, HEAD_WIDTH, 3, padding=1)), leaky_relu())
        self.out = spectral_norm(nn.Linear(HEAD_WIDTH, 1))
        self.projected = spectral_norm(nn.Embedding(num_classes, HEAD_WIDTH)) if num_classes else None
        self.std = None if num_classes else MinibatchStd(HEAD_WIDTH, COMPARED_IMAGES)

    def forward(self, maps: Tensor, labels: Tensor | None) -> Tensor:
        """[N, channels, h, w], labels [N] -> logits [N]."""
        features: Tensor = self.layers(maps)
        with full_precision(maps):
            height, width = features.shape[2:]
            features = features.to(self.out.bias.dtype).sum(dim=(2, 3)) / math.sqrt(height * width)
            logits: Tensor = self.out(features).squeeze(1)
            if self.projected is not None:
                logits = logits + (self.projected(labels) * features).sum(dim=1)
            return logits if self.std is None else logits + self.std(features)


def _scales(network: nn.Sequential) -> nn.ModuleList:
    return nn.ModuleList(network[start:stop] for start, stop, _ in SCALES)
