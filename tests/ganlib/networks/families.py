"""Small options of every network family, for any size of image."""

from typing import Any

import torch
from torch import Tensor

from ganlib.config import (
    BASE_SIZE,
    BigganOptions,
    DcganOptions,
    ImageSpec,
    MlpOptions,
    NetworkOptions,
    R3ganOptions,
    ResnetOptions,
)
from ganlib.networks import Critic, Generator, build_critic, build_generator
from tests.frozen import with_weights

CLASSES = ("ant", "bee", "cow")
LATENT_DIM = 6
BATCH = 5
FAMILIES = ("mlp", "dcgan", "resnet", "biggan", "r3gan")


def mlp(size: int = 16, **changes: Any) -> MlpOptions:
    return MlpOptions(
        **{
            "family": "mlp", "conditional": True, "latent_dim": LATENT_DIM, "generator_widths": (8, 12),
            "critic_widths": (12, 8), "critic_dropout": 0.0, "embedding_dim": 3,
        } | changes
    )  # fmt: skip


def dcgan(size: int = 16, **changes: Any) -> DcganOptions:
    return DcganOptions(
        **{
            "family": "dcgan", "conditional": True, "latent_dim": LATENT_DIM, "generator_width": 4,
            "generator_stem": "normed", "generator_spectral_norm": False, "generator_excitation": False,
            "upsampling": "transposed", "critic_width": 4, "critic_norm": "spectral",
            "critic_convolutions": 1, "critic_pooling": "none", "critic_dropout": 0.0, "critic_pretrained": None,
            "conditional_batch_norm": True, "projection": True,
        } | changes
    )  # fmt: skip


def resnet(size: int = 16, **changes: Any) -> ResnetOptions:
    return ResnetOptions(
        **{
            "family": "resnet", "conditional": True, "latent_dim": LATENT_DIM,
            "generator_widths": per_resolution(size, 8, 6), "critic_widths": (6, 8, 8), "critic_halvings": 2,
            "upsampling": "nearest", "critic_norm": "spectral",
        } | changes
    )  # fmt: skip


def biggan(size: int = 16, **changes: Any) -> BigganOptions:
    widths = per_resolution(size, 16, 8)
    return BigganOptions(
        **{
            "family": "biggan", "conditional": True, "latent_dim": 2 * len(widths), "generator_widths": widths,
            "critic_widths": (8, 16, 16), "critic_halvings": 2, "embedding_dim": 5, "attention_size": size // 2,
        } | changes
    )  # fmt: skip


def r3gan(size: int = 16, **changes: Any) -> R3ganOptions:
    return R3ganOptions(
        **{
            "family": "r3gan", "conditional": True, "latent_dim": LATENT_DIM, "widths": per_resolution(size, 8, 4),
            "blocks_per_stage": 1, "group_width": 4, "expansion": 2, "embedding_dim": 3,
        } | changes
    )  # fmt: skip


def of(family: str, size: int = 16, **changes: Any) -> NetworkOptions:
    makers = {"mlp": mlp, "dcgan": dcgan, "resnet": resnet, "biggan": biggan, "r3gan": r3gan}
    return makers[family](size, **changes)


def per_resolution(size: int, base: int, others: int) -> tuple[int, ...]:
    """Widths from 4 px up: the first, and all others."""
    return (base, *(others for _ in range((size // BASE_SIZE).bit_length() - 1)))


VARIANTS: dict[str, NetworkOptions] = {
    **{
        f"dcgan-{norm}-{how}": dcgan(
            critic_norm=norm, conditional=how != "plain",
            conditional_batch_norm=how != "input", projection=how != "input",
        )
        for norm in ("spectral", "batch", "none")
        for how in ("plain", "norms", "input")
    },
    "dcgan-benchmark": dcgan(
        conditional=False, generator_stem="linear", critic_norm="batch", critic_convolutions=2, critic_pooling="sum"
    ),
    "dcgan-resize-spectral": dcgan(
        generator_stem="linear", generator_spectral_norm=True, upsampling="resize", critic_convolutions=2,
        critic_pooling="sum",
    ),
    **{f"{family}-{kind}": of(family, conditional=kind != "plain")
       for family in ("mlp", "resnet", "biggan", "r3gan") for kind in ("plain", "conditional")},
    "resnet-bilinear-bare": resnet(upsampling="bilinear", critic_norm="none"),
    "biggan-without-attention": biggan(attention_size=None),
    **{f"dcgan-frozen-features-{kind}": dcgan(conditional=kind != "plain", critic_pretrained="efficientnet-lite0")
       for kind in ("plain", "conditional")},
    "dcgan-excited": dcgan(generator_excitation=True),
    "r3gan-many-widths": r3gan(widths=(16, 8, 4)),
}  # fmt: skip


def image_spec(size: int = 16, channels: int = 1, classes: tuple[str, ...] = CLASSES) -> ImageSpec:
    return ImageSpec(size=size, channels=channels, classes=classes)


def build(options: NetworkOptions, spec: ImageSpec, seed: int = 0) -> tuple[Generator, Critic]:
    """Networks with every zero-initialised weight made to matter."""
    torch.manual_seed(seed)
    networks = build_generator(options, spec), with_weights(build_critic(options, spec))
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3)
    return networks


def inputs(options: NetworkOptions, spec: ImageSpec) -> tuple[Tensor, Tensor, Tensor | None]:
    """Latents, images, and labels if they are wanted."""
    torch.manual_seed(1)
    images = torch.rand(BATCH, spec.channels, spec.size, spec.size) * 2 - 1
    labels = torch.arange(BATCH) % len(CLASSES) if options.conditional else None
    return torch.randn(BATCH, options.latent_dim), images, labels
