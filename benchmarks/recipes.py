"""What is raced: three families at 32 x 32 with their published losses, sized for the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.pictures import IMAGE_SIZE
from ganlib.config import RunConfig
from pipelines.presets import preset_text

PRESETS = Path(__file__).resolve().parents[1] / "presets"
LAZY_STEPS = 8
Scale = Literal["toy", "cpu", "cuda"]
NO_PENALTY = {"weight": 0.0, "every_steps": 1}


@dataclass(frozen=True)
class Family:
    """One family: its options at every scale, and how public scripts treat its generated images.

    What is not named here, determinism for one, is as in its preset `cifar10-<name>`.

    `reuses_fakes`: the images judged in the critic's step serve in the
    generator's step too, so that a public script generates once an iteration.
    """

    name: str
    title: str
    adversarial: str
    gamma: float
    learning_rate: float
    betas: tuple[float, float]
    reuses_fakes: bool
    batch_size: Mapping[Scale, int]
    network: Mapping[Scale, Mapping[str, Any]]


def _dcgan(width: int) -> dict[str, Any]:
    return {
        "family": "dcgan", "conditional": False, "latent_dim": 128, "generator_width": width,
        "generator_stem": "linear", "generator_spectral_norm": False, "generator_excitation": False,
        "upsampling": "transposed", "critic_width": width, "critic_norm": "batch",
        "critic_convolutions": 2, "critic_pooling": "sum", "critic_dropout": 0.0, "critic_pretrained": None,
        "conditional_batch_norm": False, "projection": False,
    }  # fmt: skip


def _resnet(generator_width: int, critic_width: int) -> dict[str, Any]:
    return {
        "family": "resnet", "conditional": False, "latent_dim": 128, "generator_widths": [generator_width] * 4,
        "critic_widths": [critic_width] * 4, "critic_halvings": 2, "upsampling": "nearest", "critic_norm": "spectral",
    }  # fmt: skip


def _r3gan(width: int, group_width: int, blocks: int = 2) -> dict[str, Any]:
    return {
        "family": "r3gan", "conditional": False, "latent_dim": 64, "widths": [width] * 4, "blocks_per_stage": blocks,
        "group_width": group_width, "expansion": 2, "embedding_dim": 64,
    }  # fmt: skip


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="dcgan",
            title="DCGAN, batch norm in both networks",
            adversarial="non_saturating",
            gamma=0.0,
            learning_rate=2e-4,
            betas=(0.5, 0.999),
            reuses_fakes=True,
            batch_size={"toy": 4, "cpu": 64, "cuda": 64},
            network={"toy": _dcgan(4), "cpu": _dcgan(64), "cuda": _dcgan(64)},
        ),
        Family(
            name="sngan",
            title="SNGAN, spectral norm, hinge, one critic step per generator step",
            adversarial="hinge",
            gamma=0.0,
            learning_rate=2e-4,
            betas=(0.0, 0.9),
            reuses_fakes=True,
            batch_size={"toy": 4, "cpu": 16, "cuda": 64},
            network={"toy": _resnet(8, 8), "cpu": _resnet(256, 128), "cuda": _resnet(256, 128)},
        ),
        Family(
            name="r3gan",
            title="R3GAN, relativistic, R1 and R2 at every step",
            adversarial="relativistic",
            gamma=0.05,
            learning_rate=2e-4,
            betas=(0.0, 0.9),
            reuses_fakes=False,
            batch_size={"toy": 4, "cpu": 16, "cuda": 256},
            network={"toy": _r3gan(8, 4, blocks=1), "cpu": _r3gan(96, 16), "cuda": _r3gan(768, 16)},
        ),
    )
}


def configuration(family: Family, scale: Scale, *, fresh: bool = False, **train: Any) -> RunConfig:
    """The whole configuration of a family; `fresh` never reuses fakes, `train` changes the section of that name."""
    values = yaml.safe_load(preset_text(PRESETS / f"cifar10-{family.name}.yaml"))
    penalty = {"weight": family.gamma, "every_steps": 1}
    optimizer = {
        "learning_rate": family.learning_rate, "beta1": family.betas[0], "beta2": family.betas[1],
        "epsilon": 1e-8, "max_gradient_norm": None,
    }  # fmt: skip
    values["data"].update(image_size=IMAGE_SIZE, channels=3)
    values["network"] = family.network[scale]
    values["loss"].update(
        adversarial=family.adversarial, label_smoothing=0.0, r1=penalty, r2=penalty, gradient_penalty=NO_PENALTY
    )
    values["augmentation"] = {"mirror": False, "critic": {"policy": "none"}}
    values["train"].update(
        {
            "devices": 1,
            "precision": "fp32",
            "batch_size": family.batch_size[scale],
            "critic_steps": 1,
            "generator_optimizer": optimizer,
            "critic_optimizer": optimizer,
            "reuse_fakes": family.reuses_fakes and not fresh,
            "ema_half_life_images": 500_000,
            **train,
        }
    )
    return RunConfig.model_validate(values)


def lazily(config: RunConfig) -> RunConfig:
    """Another recipe: the same penalties at every LAZY_STEPS-th critic step, each counting as often."""
    rarely = {name: getattr(config.loss, name).model_copy(update={"every_steps": LAZY_STEPS}) for name in ("r1", "r2")}
    return config.model_copy(update={"loss": config.loss.model_copy(update=rarely)})
