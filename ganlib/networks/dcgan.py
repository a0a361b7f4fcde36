"""DCGAN (Radford et al. 2016), with the conditioning and norms that later work gave it.

Layers start as PyTorch initialises them (uniform, He et al. 2015 with a = sqrt 5).
Channel counts double at each halving of the resolution, down to 4 x 4.
"""

from itertools import pairwise
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from ganlib.config import BASE_SIZE
from ganlib.networks.base import Critic, Generator, assert_labels_match
from ganlib.networks.blocks import ConditionalBatchNorm2d, full_precision, leaky_relu, spectral_norm

CriticNorm = Literal["spectral", "batch", "none"]


class DcganGenerator(Generator):
    """Linear to 4 x 4, transposed convolutions with batch norm and ReLU, one 3 x 3 convolution, tanh.

    Args:
        size: side of the images in pixels, a power of two of at least 8.
        channels: of the images.
        latent_dim: Z.
        width: channels at full resolution.
        num_classes: 0 makes it unconditional.
        conditional_batch_norm: labels enter through the norms; else as a
            learned vector of length Z beside the latent (Mirza & Osindero 2014).
    """

    def __init__(
        self, *, size: int, channels: int, latent_dim: int, width: int, num_classes: int, conditional_batch_norm: bool
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=num_classes)
        widths = _doubled_widths(size, width)[::-1]
        self.conditional_batch_norm = conditional_batch_norm and num_classes > 0
        labels_in_input = num_classes > 0 and not conditional_batch_norm
        self.embedding = nn.Embedding(num_classes, latent_dim) if labels_in_input else None
        input_dim = 2 * latent_dim if labels_in_input else latent_dim
        self.stem = nn.Linear(input_dim, widths[0] * BASE_SIZE**2, bias=False)
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1, bias=False) for narrow, wide in pairwise(widths)
        )
        self.stem_norm = self._norm(widths[0])
        self.norms = nn.ModuleList(self._norm(each) for each in widths[1:])
        self.activation = nn.ReLU(inplace=True)
        self.output = nn.Conv2d(width, channels, 3, padding=1)

    def _norm(self, channels: int) -> nn.Module:
        if self.conditional_batch_norm:
            return ConditionalBatchNorm2d(channels, self.num_classes)
        return nn.BatchNorm2d(channels)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Latents [N, Z], labels [N] -> images [N, C, H, W] in [-1, 1]."""
        assert_labels_match(labels, self.num_classes)
        inputs = latents if self.embedding is None else torch.cat([latents, self.embedding(labels)], dim=1)
        norm_inputs = (labels,) if self.conditional_batch_norm else ()
        features = self.stem(inputs).unflatten(1, (-1, BASE_SIZE, BASE_SIZE))
        features = self.activation(self.stem_norm(features, *norm_inputs))
        for upsample, norm in zip(self.upsamplers, self.norms, strict=True):
            features = self.activation(norm(upsample(features), *norm_inputs))
        return torch.tanh(self.output(features).to(latents.dtype))


class DcganCritic(Critic):
    """Strided convolutions with leaky ReLU down to 4 x 4, one 3 x 3 convolution, linear.

    The first convolution keeps the resolution and each further one halves it
    (the layout of Miyato et al. 2018, table 3, with one convolution a level).

    Args:
        size: side of the images in pixels, a power of two of at least 8.
        channels: of the images.
        width: channels at full resolution.
        num_classes: 0 makes it unconditional.
        norm: `spectral` on every layer, `batch` after every convolution but the first, or `none`.
        projection: labels enter as the inner product of an embedding and the
            features (Miyato & Koyama 2018, eq. 3); else as a learned plane
            beside the image (Mirza & Osindero 2014).
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        width: int,
        num_classes: int,
        norm: CriticNorm,
        projection: bool,
    ) -> None:
        super().__init__(num_classes=num_classes, couples_samples=norm == "batch")
        widths = _doubled_widths(size, width)
        bias = norm != "batch"  # batch norm brings its own
        feature_dim = widths[-1] * BASE_SIZE**2
        has_plane = num_classes > 0 and not projection
        # The plane has no spectral norm: labels are discrete, no Lipschitz bound is wanted in them.
        self.label_plane = nn.Embedding(num_classes, size * size) if has_plane else None
        first = nn.Conv2d(channels + has_plane, width, 3, padding=1)
        layers = _layer(first, "none" if norm == "batch" else norm)  # Radford et al., section 3, spare it batch norm
        for narrow, wide in pairwise(widths):
            layers += _layer(nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=bias), norm)
        layers += _layer(nn.Conv2d(widths[-1], widths[-1], 3, padding=1, bias=bias), norm)
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(feature_dim, 1)
        self.projected = nn.Embedding(num_classes, feature_dim) if num_classes > 0 and projection else None
        if norm == "spectral":
            spectral_norm(self.head)
        if self.projected is not None:
            if norm == "spectral":
                spectral_norm(self.projected)
            else:  # rows of norm 1: at N(0, 1) entries they would drown the linear term
                nn.init.normal_(self.projected.weight, std=feature_dim**-0.5)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> logits [N]."""
        assert_labels_match(labels, self.num_classes)
        inputs = images
        if self.label_plane is not None:
            planes = self.label_plane(labels).view(-1, 1, *images.shape[2:])
            inputs = torch.cat([images, planes], dim=1)
        features = self.features(inputs).flatten(1)
        with full_precision(images):
            features = features.to(images.dtype)
            logits: Tensor = self.head(features).squeeze(1)
            if self.projected is not None:
                logits = logits + (self.projected(labels) * features).sum(dim=1)
        return logits


def _doubled_widths(size: int, width: int) -> list[int]:
    """Channels at size, size / 2, …, 4."""
    halvings = (size // BASE_SIZE).bit_length() - 1
    assert size == BASE_SIZE << halvings, f"size={size} is not 4 times a power of two"
    return [width << level for level in range(halvings + 1)]


def _layer(convolution: nn.Conv2d, norm: CriticNorm) -> list[nn.Module]:
    """A convolution with its norm and activation."""
    match norm:
        case "spectral":
            return [spectral_norm(convolution), leaky_relu()]
        case "batch":
            return [convolution, nn.BatchNorm2d(convolution.out_channels), leaky_relu()]
        case "none":
            return [convolution, leaky_relu()]
        case _:
            assert_never(norm)
