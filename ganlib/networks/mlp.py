"""Fully connected networks (Goodfellow et al. 2014), with batch norm in the generator.

Labels enter both as a learned vector beside the input (Mirza & Osindero 2014).
Layers start as PyTorch initialises them (uniform, He et al. 2015 with a = sqrt 5).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganlib.config import ImageSpec, MlpOptions
from ganlib.networks.base import Critic, Family, Generator, assert_labels_match
from ganlib.networks.blocks import full_precision, leaky_relu


def mlp(options: MlpOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options; unconditional without classes."""
    return Family(
        generator=lambda: MlpGenerator(
            size=image.size,
            channels=image.channels,
            latent_dim=options.latent_dim,
            widths=options.generator_widths,
            num_classes=num_classes,
            embedding_dim=options.embedding_dim,
        ),
        critic=lambda: MlpCritic(
            size=image.size,
            channels=image.channels,
            widths=options.critic_widths,
            num_classes=num_classes,
            embedding_dim=options.embedding_dim,
            dropout=options.critic_dropout,
        ),
    )


class MlpGenerator(Generator):
    """Linear layers with batch norm and leaky ReLU, a last one, tanh.

    Args:
        size: side of the images in pixels.
        channels: of the images.
        latent_dim: Z.
        widths: of the hidden layers, from the latent on.
        num_classes: 0 makes it unconditional.
        embedding_dim: length of the class vector beside the latent.
    """

    def __init__(
        self, *, size: int, channels: int, latent_dim: int, widths: Sequence[int], num_classes: int, embedding_dim: int
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=num_classes)
        self.image_shape = (channels, size, size)
        self.embedding = nn.Embedding(num_classes, embedding_dim) if num_classes else None
        layers: list[nn.Module] = []
        for before, after in pairwise([latent_dim + (embedding_dim if num_classes else 0), *widths]):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), leaky_relu()]
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(widths[-1], channels * size * size)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Latents [N, Z], labels [N] -> images [N, C, H, W] in [-1, 1]."""
        assert_labels_match(labels, self.num_classes)
        inputs = latents if self.embedding is None else torch.cat([latents, self.embedding(labels)], dim=1)
        pixels = torch.tanh(self.output(self.hidden(inputs)).to(latents.dtype))
        return pixels.view(-1, *self.image_shape)


class MlpCritic(Critic):
    """Linear layers with leaky ReLU (and dropout), a last one.

    Args:
        size: side of the images in pixels.
        channels: of the images.
        widths: of the hidden layers, from the pixels on.
        num_classes: 0 makes it unconditional.
        embedding_dim: length of the class vector beside the pixels.
        dropout: share of the hidden units dropped while training.
    """

    def __init__(
        self, *, size: int, channels: int, widths: Sequence[int], num_classes: int, embedding_dim: int, dropout: float
    ) -> None:
        super().__init__(num_classes=num_classes, couples_samples=False, feature_dim=widths[-1])
        self.embedding = nn.Embedding(num_classes, embedding_dim) if num_classes else None
        layers: list[nn.Module] = []
        for before, after in pairwise([channels * size * size + (embedding_dim if num_classes else 0), *widths]):
            layers += [nn.Linear(before, after), leaky_relu()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], 1)

    def embed(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> features [N, F]."""
        assert_labels_match(labels, self.num_classes)
        pixels = images.flatten(1)
        inputs = pixels if self.embedding is None else torch.cat([pixels, self.embedding(labels)], dim=1)
        features: Tensor = self.features(inputs)
        return features.to(images.dtype)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> logits [N]."""
        features = self.embed(images, labels)
        with full_precision(images):
            logits: Tensor = self.head(features)
            return logits.squeeze(1)

    def lower_layers(self) -> list[nn.Module]:
        """The hidden layers."""
        return [layer for layer in self.features if isinstance(layer, nn.Linear)]
