"""DCGAN (Radford et al. 2016), with the conditioning and norms that later work gave it.

Layers start as PyTorch initialises them (uniform, He et al. 2015 with a = sqrt 5).
Channel counts double at each halving of the resolution, down to 4 x 4.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from ganlib.config import BASE_SIZE, DcganOptions, ImageSpec
from ganlib.networks.base import Critic, Family, Generator, assert_labels_match
from ganlib.networks.blocks import ConditionalBatchNorm2d, full_precision, leaky_relu
from ganlib.networks.convolution import Conv2d, DoublingConv2d
from ganlib.networks.frozen_features import FrozenFeaturesCritic
from ganlib.networks.spectral import spectral_norm

CriticNorm = Literal["spectral", "batch", "none"]


def dcgan(options: DcganOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options; unconditional without classes."""

    def critic() -> Critic:
        pixels = DcganCritic(
            size=image.size,
            channels=image.channels,
            width=options.critic_width,
            num_classes=num_classes,
            norm=options.critic_norm,
            projection=options.projection,
            convolutions=options.critic_convolutions,
            pooling=options.critic_pooling,
            dropout=options.critic_dropout,
        )
        return pixels if options.critic_pretrained is None else FrozenFeaturesCritic(pixels)

    return Family(
        generator=lambda: DcganGenerator(
            size=image.size,
            channels=image.channels,
            latent_dim=options.latent_dim,
            width=options.generator_width,
            num_classes=num_classes,
            conditional_batch_norm=options.conditional_batch_norm,
            stem=options.generator_stem,
            spectral=options.generator_spectral_norm,
            excitation=options.generator_excitation,
            upsampling=options.upsampling,
        ),
        critic=critic,
    )


class DcganGenerator(Generator):
    """Linear to 4 x 4, upsampling convolutions with batch norm and ReLU, one 3 x 3 convolution, tanh.

    Args:
        size: side of the images in pixels, a power of two of at least 8.
        channels: of the images.
        latent_dim: Z.
        width: channels at full resolution.
        num_classes: 0 makes it unconditional.
        conditional_batch_norm: labels enter through the norms; else as a
            learned vector of length Z beside the latent (Mirza & Osindero 2014).
        stem: the 4 x 4 layer has norm and ReLU (`normed`) or neither, but a bias (`linear`).
        spectral: spectral norm on every layer.
        excitation: the 4 x 4 features scale the channels at full resolution, between 0 and 2
            (the skip-layer excitation of Liu et al. 2021, whose scales lie between 0 and 1).
        upsampling: `transposed` 4 x 4 convolutions, or `resize`: each pixel
            repeated, then a 3 x 3 convolution (Odena et al. 2016).
    """

    def __init__(
        self,
        *,
        size: int,
        channels: int,
        latent_dim: int,
        width: int,
        num_classes: int,
        conditional_batch_norm: bool,
        stem: Literal["normed", "linear"],
        spectral: bool,
        excitation: bool,
        upsampling: Literal["transposed", "resize"],
    ) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=num_classes)
        widths = _doubled_widths(size, width)[::-1]
        self.conditional_batch_norm = conditional_batch_norm and num_classes > 0
        labels_in_input = num_classes > 0 and not conditional_batch_norm
        self.embedding = nn.Embedding(num_classes, latent_dim) if labels_in_input else None
        input_dim = 2 * latent_dim if labels_in_input else latent_dim
        self.stem = nn.Linear(input_dim, widths[0] * BASE_SIZE**2, bias=stem == "linear")
        self.upsamplers = nn.ModuleList(_upsampler(before, after, upsampling) for before, after in pairwise(widths))
        self.stem_norm = self._norm(widths[0]) if stem == "normed" else None
        self.norms = nn.ModuleList(self._norm(each) for each in widths[1:])
        self.activation = nn.ReLU(inplace=True)
        self.output = nn.Conv2d(width, channels, 3, padding=1)
        self.excitation = _Excitation(widths[0], width) if excitation else None
        if spectral:
            for layer in self.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    spectral_norm(layer)

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
        if self.stem_norm is not None:
            features = self.activation(self.stem_norm(features, *norm_inputs))
        scales = None if self.excitation is None else self.excitation(features)
        for upsample, norm in zip(self.upsamplers, self.norms, strict=True):
            features = self.activation(norm(upsample(features), *norm_inputs))
        if scales is not None:
            features = features * scales
        return torch.tanh(self.output(features).to(latents.dtype))


class _Excitation(nn.Module):
    """[N, I, 4, 4] -> [N, O, 1, 1] in [0, 2], near 1 at the start."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, BASE_SIZE), nn.LeakyReLU(0.1), nn.Conv2d(outputs, outputs, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        scales: Tensor = self.layers(features)
        return 2 * scales


class DcganCritic(Critic):
    """Convolutions with leaky ReLU down to 4 x 4, the last one 3 x 3, linear.

    With one convolution a halving the first one keeps the resolution and each
    further one halves it (the layout of Miyato et al. 2018, table 3, with one
    convolution a level). With two, a 3 x 3 one changes the width at each
    level, then a 4 x 4 one halves.

    Args:
        size: side of the images in pixels, a power of two of at least 8.
        channels: of the images.
        width: channels at full resolution.
        num_classes: 0 makes it unconditional.
        norm: `spectral` on every layer, `batch` after every convolution but the first, or `none`.
        projection: labels enter as the inner product of an embedding and the
            features (Miyato & Koyama 2018, eq. 3); else as a learned plane
            beside the image (Mirza & Osindero 2014).
        convolutions: 1 or 2 a halving.
        pooling: `none`, or the `sum` of the features over all positions.
        dropout: share of the channels dropped after every activation while training.
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
        convolutions: Literal[1, 2],
        pooling: Literal["none", "sum"],
        dropout: float,
    ) -> None:
        widths = _doubled_widths(size, width)
        feature_dim = widths[-1] * (BASE_SIZE**2 if pooling == "none" else 1)
        super().__init__(num_classes=num_classes, couples_samples=norm == "batch", feature_dim=feature_dim)
        self.pooling = pooling
        has_plane = num_classes > 0 and not projection
        # The plane has no spectral norm: labels are discrete, no Lipschitz bound is wanted in them.
        self.label_plane = nn.Embedding(num_classes, size * size) if has_plane else None
        layers: list[nn.Module] = []
        for convolution in _convolutions(channels + has_plane, widths, convolutions, bias=norm != "batch"):
            first = not layers  # Radford et al., section 3, spare it batch norm
            layers += _layer(convolution, "none" if first and norm == "batch" else norm, dropout)
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

    def embed(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> features [N, F]."""
        assert_labels_match(labels, self.num_classes)
        inputs = images
        if self.label_plane is not None:
            planes = self.label_plane(labels).view(-1, 1, *images.shape[2:])
            inputs = torch.cat([images, planes], dim=1)
        maps: Tensor = self.features(inputs)
        with full_precision(images):
            maps = maps.to(images.dtype)
            return maps.flatten(1) if self.pooling == "none" else maps.sum(dim=(2, 3))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Images [N, C, H, W], labels [N] -> logits [N]."""
        features = self.embed(images, labels)
        with full_precision(images):
            logits: Tensor = self.head(features).squeeze(1)
            if self.projected is not None:
                logits = logits + (self.projected(labels) * features).sum(dim=1)
        return logits

    def lower_layers(self) -> list[nn.Module]:
        """The convolutions, each with its norm."""
        starts = [index for index, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        return [self.features[start:stop] for start, stop in pairwise([*starts, len(self.features)])]


def _doubled_widths(size: int, width: int) -> list[int]:
    """Channels at size, size / 2, …, 4."""
    halvings = (size // BASE_SIZE).bit_length() - 1
    assert size == BASE_SIZE << halvings, f"size={size} is not 4 times a power of two"
    return [width << level for level in range(halvings + 1)]


def _upsampler(before: int, after: int, upsampling: Literal["transposed", "resize"]) -> nn.Module:
    match upsampling:
        case "transposed":
            return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
        case "resize":
            return DoublingConv2d(before, after, bias=False)
        case _:
            assert_never(upsampling)


def _convolutions(channels: int, widths: list[int], per_halving: Literal[1, 2], *, bias: bool) -> Iterator[Conv2d]:
    """The critic's convolutions from the image inwards; the first one has a bias in any case."""
    yield Conv2d(channels, widths[0], 3, padding=1)
    for wide, narrow in pairwise(widths):
        match per_halving:
            case 1:
                yield Conv2d(wide, narrow, 4, stride=2, padding=1, bias=bias)
            case 2:
                yield Conv2d(wide, wide, 4, stride=2, padding=1, bias=bias)
                yield Conv2d(wide, narrow, 3, padding=1, bias=bias)
            case _:
                assert_never(per_halving)
    if per_halving == 1:
        yield Conv2d(widths[-1], widths[-1], 3, padding=1, bias=bias)


def _layer(convolution: Conv2d, norm: CriticNorm, dropout: float) -> list[nn.Module]:
    """A convolution with its norm and activation."""
    dropped = [nn.Dropout2d(dropout)] if dropout > 0 else []
    match norm:
        case "spectral":
            return [spectral_norm(convolution), leaky_relu(), *dropped]
        case "batch":
            return [convolution, nn.BatchNorm2d(convolution.out_channels), leaky_relu(), *dropped]
        case "none":
            return [convolution, leaky_relu(), *dropped]
        case _:
            assert_never(norm)
