"""R3GAN (Huang et al. 2024, arXiv:2501.05441): residual networks without any normalisation.

Both networks are stages of residual blocks at 4 x 4, 8 x 8, …; the critic
mirrors the generator. Weights start as N(0, gain / sqrt(fan in)), biases at
zero. Under autocast the 4 x 4 stage stays in full precision, as published.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganlib.config import BASE_SIZE, ImageSpec, R3ganOptions
from ganlib.networks.base import Critic, Family, Generator, assert_labels_match
from ganlib.networks.blocks import LEAKY_SLOPE, Downsample, Upsample, full_precision, leaky_relu
from ganlib.networks.convolution import Conv2d

LayerT = TypeVar("LayerT", Conv2d, nn.Linear)


def r3gan(options: R3ganOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options; unconditional without classes."""
    return Family(
        generator=lambda: R3ganGenerator(
            channels=image.channels,
            latent_dim=options.latent_dim,
            widths=options.widths,
            blocks_per_stage=options.blocks_per_stage,
            group_width=options.group_width,
            expansion=options.expansion,
            num_classes=num_classes,
            embedding_dim=options.embedding_dim,
        ),
        critic=lambda: R3ganCritic(
            channels=image.channels,
            widths=options.widths,
            blocks_per_stage=options.blocks_per_stage,
            group_width=options.group_width,
            expansion=options.expansion,
            num_classes=num_classes,
        ),
    )


class ResidualBlock(nn.Module):
    """x + f(x): 1 x 1 expansion, grouped 3 x 3, 1 x 1 back, biased leaky ReLUs between.

    The last convolution starts at zero and the block as the identity; the
    gain of the others is that of leaky ReLU times B^(-1/4), B being the
    number of blocks in the network (Zhang et al. 2019, Fixup, section 3).
    """

    def __init__(self, *, width: int, group_width: int, expansion: int, total_blocks: int) -> None:
        super().__init__()
        inner = width * expansion
        gain = nn.init.calculate_gain("leaky_relu", LEAKY_SLOPE) * total_blocks**-0.25
        self.expand = _initialised(Conv2d(width, inner, 1), gain)
        self.mix = _initialised(Conv2d(inner, inner, 3, padding=1, groups=inner // group_width), gain)
        self.reduce = _initialised(Conv2d(inner, width, 1, bias=False), 0.0)
        self.activation = leaky_relu()

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        hidden = self.activation(self.expand(features))
        hidden = self.activation(self.mix(hidden))
        residual: Tensor = self.reduce(hidden)
        return features + residual


class R3ganGenerator(Generator):
    """A learned 4 x 4 constant scaled by the latent, residual stages, a 1 x 1 convolution; no tanh.

    Args:
        channels: of the images.
        latent_dim: Z.
        widths: channels per stage from 4 x 4 upwards; the image side is 4 * 2^(stages - 1).
        blocks_per_stage: residual blocks in each stage.
        group_width: channels a group of the 3 x 3 convolutions.
        expansion: width of a block's inside over its outside.
        num_classes: 0 makes it unconditional.
        embedding_dim: length of the class vector beside the latent.
    """

    def __init__(
        self,
        *,
        channels: int,
        latent_dim: int,
        widths: Sequence[int],
        blocks_per_stage: int,
        group_width: int,
        expansion: int,
        num_classes: int,
        embedding_dim: int,
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=num_classes)

        def blocks(width: int) -> list[ResidualBlock]:
            return _blocks(width, blocks_per_stage, group_width, expansion, len(widths))

        self.embedding = _class_embedding(num_classes, embedding_dim) if num_classes else None
        input_dim = latent_dim + (embedding_dim if num_classes else 0)
        self.basis = nn.Parameter(torch.randn(widths[0], BASE_SIZE, BASE_SIZE))
        self.scale = _initialised(nn.Linear(input_dim, widths[0], bias=False))
        self.base = nn.Sequential(*blocks(widths[0]))
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            # The cheaper order: change the width at the lower resolution.
            layers += [*_width_change(narrow, wide), Upsample(), *blocks(wide)]
        self.body = nn.Sequential(*layers)
        self.output = _initialised(Conv2d(widths[-1], channels, 1, bias=False))

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Latents [N, Z], labels [N] -> images [N, C, H, W], unbounded, nominally in [-1, 1]."""
        assert_labels_match(labels, self.num_classes)
        with full_precision(latents):
            inputs = latents if self.embedding is None else torch.cat([latents, self.embedding(labels)], dim=1)
            features = self.base(self.basis * self.scale(inputs)[:, :, None, None])
        images: Tensor = self.output(self.body(features))
        return images.to(latents.dtype)


class R3ganCritic(Critic):
    """The generator's mirror image: 1 x 1 convolution, residual stages, a depthwise 4 x 4 one, linear.

    Conditional: the linear layer gives a vector, whose inner product with the
    class vector is the logit. Arguments as in `R3ganGenerator`.
    """

    def __init__(
        self,
        *,
        channels: int,
        widths: Sequence[int],
        blocks_per_stage: int,
        group_width: int,
        expansion: int,
        num_classes: int,
    ) -> None:
        super().__init__(num_classes=num_classes, couples_samples=False, feature_dim=widths[0])

        def blocks(width: int) -> list[ResidualBlock]:
            return _blocks(width, blocks_per_stage, group_width, expansion, len(widths))

        last = widths[0]
        self.stem = _initialised(Conv2d(channels, widths[-1], 1, bias=False))
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(reversed(widths)):
            layers += [*blocks(wide), Downsample(), *_width_change(wide, narrow)]
        self.body = nn.Sequential(*layers)
        self.base = nn.Sequential(*blocks(last))
        # A valid 4 x 4 depthwise convolution on a 4 x 4 map: one weight a position and channel.
        self.pool = nn.Parameter(torch.randn(last, BASE_SIZE, BASE_SIZE) / BASE_SIZE)
        self.head = _initialised(nn.Linear(last, last if num_classes else 1, bias=False))
        self.embedding = _class_embedding(num_classes, last, gain=last**-0.5) if num_classes else None

    def embed(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> features [N, F]."""
        assert_labels_match(labels, self.num_classes)
        features = self.body(self.stem(images))
        with full_precision(images):
            maps: Tensor = self.base(features.to(images.dtype))
            return (maps * self.pool).sum(dim=(2, 3))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> logits [N]."""
        features = self.embed(images, labels)
        with full_precision(images):
            outputs: Tensor = self.head(features)
            if self.embedding is not None:
                outputs = outputs * self.embedding(labels)
            return outputs.sum(dim=1)

    def lower_layers(self) -> list[nn.Module]:
        """The first convolution, the residual blocks, and the changes of width between stages."""
        layers = (self.stem, *self.body, *self.base)
        return [layer for layer in layers if not isinstance(layer, Downsample)]  # in which nothing learns


def _initialised(layer: LayerT, gain: float = 1.0) -> LayerT:
    """Weights N(0, gain / sqrt(fan in)) (He et al. 2015), bias zero."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _class_embedding(num_classes: int, dim: int, gain: float = 1.0) -> nn.Embedding:
    """A bias-free linear layer on one-hot labels, as a table; its fan in is the number of classes."""
    embedding = nn.Embedding(num_classes, dim)
    nn.init.normal_(embedding.weight, std=gain / math.sqrt(num_classes))
    return embedding


def _blocks(width: int, count: int, group_width: int, expansion: int, stages: int) -> list[ResidualBlock]:
    total = count * stages
    return [
        ResidualBlock(width=width, group_width=group_width, expansion=expansion, total_blocks=total)
        for _ in range(count)
    ]


def _width_change(before: int, after: int) -> list[nn.Module]:
    return [] if before == after else [_initialised(Conv2d(before, after, 1, bias=False))]
