"""The residual networks of SNGAN (Miyato et al. 2018), as Miyato & Koyama (2018) made them conditional.

Weights start as Glorot & Bengio's (2010) uniform, with gain sqrt 2 for the
3 x 3 convolutions inside blocks. The critic is `ResidualCritic`.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.config import BASE_SIZE, ImageSpec, ResnetOptions
from ganlib.networks.base import Family, Generator, assert_labels_match
from ganlib.networks.blocks import ConditionalBatchNorm2d
from ganlib.networks.residual import LayerStyle, ResidualCritic, UpBlock
from ganlib.networks.spectral import SPECTRAL_EPSILON

PLAIN = LayerStyle(initialise=nn.init.xavier_uniform_, residual_gain=math.sqrt(2), spectral_epsilon=None)
SPECTRAL = LayerStyle(initialise=nn.init.xavier_uniform_, residual_gain=math.sqrt(2), spectral_epsilon=SPECTRAL_EPSILON)


def resnet(options: ResnetOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options; unconditional without classes."""
    return Family(
        generator=lambda: ResnetGenerator(
            channels=image.channels,
            latent_dim=options.latent_dim,
            widths=options.generator_widths,
            num_classes=num_classes,
            upsampling=options.upsampling,
        ),
        critic=lambda: ResidualCritic(
            size=image.size,
            channels=image.channels,
            widths=options.critic_widths,
            halvings=options.critic_halvings,
            num_classes=num_classes,
            style=SPECTRAL if options.critic_norm == "spectral" else PLAIN,
            attention_size=None,
        ),
    )


class ResnetGenerator(Generator):
    """Linear to 4 x 4, residual blocks that double the side, batch norm, ReLU, 3 x 3, tanh.

    Conditional: the blocks' batch norms have a gain and a bias per class.

    Args:
        channels: of the images.
        latent_dim: Z.
        widths: channels per resolution from 4 x 4 upwards; the image side is 4 * 2^(resolutions - 1).
        num_classes: 0 makes it unconditional.
        upsampling: how pixels are interpolated.
    """

    def __init__(
        self,
        *,
        channels: int,
        latent_dim: int,
        widths: Sequence[int],
        num_classes: int,
        upsampling: Literal["nearest", "bilinear"],
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=num_classes)
        norm = partial(ConditionalBatchNorm2d, num_classes=num_classes) if num_classes else nn.BatchNorm2d
        self.stem = PLAIN.linear(latent_dim, widths[0] * BASE_SIZE**2)
        self.blocks = nn.ModuleList(
            UpBlock(before, after, style=PLAIN, norm=norm, upsampling=upsampling) for before, after in pairwise(widths)
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.output = PLAIN.output(widths[-1], channels)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Latents [N, Z], labels [N] -> images [N, C, H, W] in [-1, 1]."""
        assert_labels_match(labels, self.num_classes)
        condition = () if labels is None else (labels,)
        features = self.stem(latents).unflatten(1, (-1, BASE_SIZE, BASE_SIZE))
        for block in self.blocks:
            features = block(features, *condition)
        features = F.relu(self.norm(features), inplace=True)
        return torch.tanh(self.output(features).to(latents.dtype))
