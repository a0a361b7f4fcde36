"""BigGAN (Brock et al. 2019): residual networks with spectral norm in both, and a latent that enters everywhere.

Weights start orthogonal (Saxe et al. 2014). The critic is `ResidualCritic`.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.config import BASE_SIZE, BigganOptions, ImageSpec
from ganlib.networks.attention import SelfAttention
from ganlib.networks.base import Family, Generator, assert_labels_match
from ganlib.networks.residual import LayerStyle, ResidualCritic, UpBlock

NORM_EPSILON = 1e-4
STYLE = LayerStyle(initialise=nn.init.orthogonal_, residual_gain=1.0, spectral_epsilon=1e-6)


def biggan(options: BigganOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options; unconditional without classes."""
    return Family(
        generator=lambda: BigganGenerator(
            channels=image.channels,
            latent_dim=options.latent_dim,
            widths=options.generator_widths,
            num_classes=num_classes,
            embedding_dim=options.embedding_dim,
            attention_size=options.attention_size,
        ),
        critic=lambda: ResidualCritic(
            size=image.size,
            channels=image.channels,
            widths=options.critic_widths,
            halvings=options.critic_halvings,
            num_classes=num_classes,
            style=STYLE,
            attention_size=options.attention_size,
        ),
    )


class VectorBatchNorm2d(nn.Module):
    """Batch norm whose gain - 1 and bias are linear functions of a vector (Brock et al. 2019, appendix B)."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=NORM_EPSILON, affine=False)
        self.gain = STYLE.linear(condition_dim, channels, bias=False)
        self.bias = STYLE.linear(condition_dim, channels, bias=False)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[N, C, H, W], [N, D] -> [N, C, H, W]."""
        normalised = self.norm(features)
        gain, bias = (layer(condition).to(normalised.dtype)[:, :, None, None] for layer in (self.gain, self.bias))
        return torch.addcmul(bias, normalised, 1 + gain)


class BigganGenerator(Generator):
    """Linear to 4 x 4, residual blocks that double the side, attention, batch norm, ReLU, 3 x 3, tanh.

    The first chunk of the latent goes into the linear layer. The others, one a
    block, condition its batch norms, with the shared class vector beside each.

    Args:
        channels: of the images.
        latent_dim: Z, divisible by the number of widths.
        widths: channels per resolution from 4 x 4 upwards; the image side is 4 * 2^(resolutions - 1).
        num_classes: 0 makes it unconditional.
        embedding_dim: length of the class vector.
        attention_size: self-attention follows the block that makes this resolution; None: none.
    """

    def __init__(
        self,
        *,
        channels: int,
        latent_dim: int,
        widths: Sequence[int],
        num_classes: int,
        embedding_dim: int,
        attention_size: int | None,
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=num_classes)
        chunk_dim, rest = divmod(latent_dim, len(widths))
        assert rest == 0, f"latent_dim={latent_dim} does not divide into {len(widths)} chunks"
        self.chunk_dim = chunk_dim
        self.attention_size = attention_size
        # No spectral norm, as published: the layers that read it have theirs.
        self.embedding = nn.Embedding(num_classes, embedding_dim) if num_classes else None
        if self.embedding is not None:
            nn.init.orthogonal_(self.embedding.weight)
        norm = partial(VectorBatchNorm2d, condition_dim=chunk_dim + (embedding_dim if num_classes else 0))
        self.stem = STYLE.linear(chunk_dim, widths[0] * BASE_SIZE**2)
        self.blocks = nn.ModuleList(
            UpBlock(before, after, style=STYLE, norm=norm, upsampling="nearest") for before, after in pairwise(widths)
        )
        attended_width = widths[attention_size.bit_length() - BASE_SIZE.bit_length()] if attention_size else None
        self.attention = SelfAttention(attended_width, STYLE.projection) if attended_width else None
        self.norm = nn.BatchNorm2d(widths[-1], eps=NORM_EPSILON)
        self.output = STYLE.output(widths[-1], channels)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Latents [N, Z], labels [N] -> images [N, C, H, W] in [-1, 1]."""
        assert_labels_match(labels, self.num_classes)
        first, *chunks = torch.split(latents, self.chunk_dim, dim=1)
        if self.embedding is not None:
            shared = self.embedding(labels)
            chunks = [torch.cat([chunk, shared], dim=1) for chunk in chunks]
        features = self.stem(first).unflatten(1, (-1, BASE_SIZE, BASE_SIZE))
        for block, chunk in zip(self.blocks, chunks, strict=True):
            features = block(features, chunk)
            if self.attention is not None and features.shape[2] == self.attention_size:
                features = self.attention(features)
        features = F.relu(self.norm(features), inplace=True)
        return torch.tanh(self.output(features).to(latents.dtype))
