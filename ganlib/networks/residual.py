"""Residual networks in the manner of SNGAN and BigGAN: their layers, blocks and critic.

The shortcuts' 1 x 1 convolutions act at the lower resolution: they commute with
means and interpolations, whose weights sum to 1, and cost a quarter there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.networks.attention import SelfAttention
from ganlib.networks.base import Critic, assert_labels_match
from ganlib.networks.blocks import full_precision
from ganlib.networks.convolution import Conv2d, DoublingConv2d, HalvingConv2d
from ganlib.networks.spectral import spectral_norm

LayerT = TypeVar("LayerT", Conv2d, nn.Linear, nn.Embedding)


@dataclass(frozen=True, kw_only=True)
class LayerStyle:
    """How a network's layers start and are normed; biases start at zero.

    Attributes:
        initialise: sets a weight in place, given it and a gain.
        residual_gain: the gain of the 3 x 3 convolutions inside blocks; all others have 1.
        spectral_epsilon: of spectral norm on every layer; None: no spectral norm.
    """

    initialise: Callable[[Tensor, float], Tensor]
    residual_gain: float
    spectral_epsilon: float | None

    def residual(self, before: int, after: int) -> Conv2d:
        """A 3 x 3 convolution inside a block."""
        return self._finished(Conv2d(before, after, 3, padding=1), self.residual_gain)

    def doubling(self, before: int, after: int) -> Conv2d:
        """The same over pixels that are repeated."""
        return self._finished(DoublingConv2d(before, after), self.residual_gain)

    def halving(self, before: int, after: int) -> Conv2d:
        """The same before the mean of 2 x 2 pixels."""
        return self._finished(HalvingConv2d(before, after), self.residual_gain)

    def shortcut(self, before: int, after: int) -> Conv2d:
        """A 1 x 1 convolution beside a block."""
        return self._finished(Conv2d(before, after, 1))

    def projection(self, before: int, after: int) -> Conv2d:
        """A 1 x 1 convolution without bias."""
        return self._finished(Conv2d(before, after, 1, bias=False))

    def output(self, before: int, channels: int) -> Conv2d:
        """The generator's last 3 x 3 convolution."""
        return self._finished(Conv2d(before, channels, 3, padding=1))

    def linear(self, before: int, after: int, *, bias: bool = True) -> nn.Linear:
        """A linear layer."""
        return self._finished(nn.Linear(before, after, bias=bias))

    def embedding(self, count: int, dim: int) -> nn.Embedding:
        """A table of vectors."""
        return self._finished(nn.Embedding(count, dim))

    def _finished(self, layer: LayerT, gain: float = 1.0) -> LayerT:
        with torch.no_grad():
            self.initialise(layer.weight, gain)
        if not isinstance(layer, nn.Embedding) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return layer if self.spectral_epsilon is None else spectral_norm(layer, epsilon=self.spectral_epsilon)


class UpBlock(nn.Module):
    """Norm, ReLU, twice the side, 3 x 3, norm, ReLU, 3 x 3; beside it twice the side and 1 x 1 (He et al. 2016).

    Args:
        before: channels of the input.
        after: channels of the output.
        style: of the layers.
        norm: makes the norm of so many channels; it is called with the features and the condition, if any.
        upsampling: how pixels are interpolated.
    """

    def __init__(
        self,
        before: int,
        after: int,
        *,
        style: LayerStyle,
        norm: Callable[[int], nn.Module],
        upsampling: Literal["nearest", "bilinear"],
    ) -> None:
        super().__init__()
        self.norm_in = norm(before)
        # Repeated pixels are not made.
        self.repeats = upsampling == "nearest"
        self.expand = (style.doubling if self.repeats else style.residual)(before, after)
        self.norm_out = norm(after)
        self.refine = style.residual(after, after)
        self.shortcut = style.shortcut(before, after)
        self.upsample = nn.Upsample(scale_factor=2, mode=upsampling)

    def forward(self, features: Tensor, *condition: Tensor) -> Tensor:
        """[N, C, H, W], condition -> [N, C', 2H, 2W]."""
        hidden = F.relu(self.norm_in(features, *condition), inplace=True)
        hidden = self.expand(hidden if self.repeats else self.upsample(hidden))
        hidden = F.relu(self.norm_out(hidden, *condition), inplace=True)
        residual: Tensor = self.refine(hidden)
        shortcut: Tensor = self.upsample(self.shortcut(features))
        return residual + shortcut


class DownBlock(nn.Module):
    """ReLU (not of pixels), 3 x 3, ReLU, 3 x 3, beside it 1 x 1 or nothing; then the mean of 2 x 2 pixels.

    Args:
        before: channels of the input.
        after: channels of the output.
        style: of the layers.
        from_pixels: whether the input is an image rather than features.
        halve: whether the resolution is halved.
    """

    def __init__(self, before: int, after: int, *, style: LayerStyle, from_pixels: bool, halve: bool) -> None:
        super().__init__()
        self.from_pixels = from_pixels
        self.halve = halve
        self.expand = style.residual(before, after)
        self.refine = (style.halving if halve else style.residual)(after, after)
        self.shortcut = style.shortcut(before, after) if halve or before != after else None

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C', H, W] or [N, C', H/2, W/2]."""
        # Not in place: the shortcut needs the features as they were.
        hidden = features if self.from_pixels else F.relu(features)
        residual: Tensor = self.refine(F.relu(self.expand(hidden), inplace=True))
        if self.halve:
            features = F.avg_pool2d(features, 2)
        return residual + (features if self.shortcut is None else self.shortcut(features))


class ResidualCritic(Critic):
    """Residual blocks, ReLU, sum over all positions, linear; labels enter through a projection.

    The projection is the inner product of an embedding and the features
    (Miyato & Koyama 2018, eq. 3).

    Args:
        size: side of the images in pixels.
        channels: of the images.
        widths: channels of the blocks, from the image inwards.
        halvings: how many of them, the first ones, halve the resolution.
        num_classes: 0 makes it unconditional.
        style: of all layers.
        attention_size: self-attention follows the first block that has this resolution; None: none.
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        widths: Sequence[int],
        halvings: int,
        num_classes: int,
        style: LayerStyle,
        attention_size: int | None,
    ) -> None:
        super().__init__(num_classes=num_classes, couples_samples=False, feature_dim=widths[-1])
        sides = [size >> min(index + 1, halvings) for index in range(len(widths))]
        attended = None if attention_size is None else sides.index(attention_size)
        self.blocks = nn.ModuleList()
        for index, (before, after) in enumerate(pairwise([channels, *widths])):
            self.blocks.append(DownBlock(before, after, style=style, from_pixels=index == 0, halve=index < halvings))
            if index == attended:
                self.blocks.append(SelfAttention(after, style.projection))
        self.head = style.linear(widths[-1], 1)
        self.projected = style.embedding(num_classes, widths[-1]) if num_classes else None

    def embed(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> features [N, F]."""
        assert_labels_match(labels, self.num_classes)
        features = images
        for block in self.blocks:
            features = block(features)
        with full_precision(images):
            return F.relu(features.to(images.dtype)).sum(dim=(2, 3))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> logits [N]."""
        pooled = self.embed(images, labels)
        with full_precision(images):
            logits: Tensor = self.head(pooled).squeeze(1)
            if self.projected is not None:
                logits = logits + (self.projected(labels) * pooled).sum(dim=1)
        return logits

    def lower_layers(self) -> list[nn.Module]:
        """The blocks; attention counts as one."""
        return list(self.blocks)
