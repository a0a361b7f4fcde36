"""Small configurations for tests: the default recipe, scaled down."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ganlib.config import RunConfig

ROOT = Path(__file__).resolve().parents[1]
PRESET = ROOT / "params.yaml"  # the preset digits, written out
# Families that are given images; they have no latents alone.
TRANSLATORS = ("unet", "cyclegan", "stargan")
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {
        "family": "mlp",
        "conditional": True,
        "latent_dim": 8,
        "generator_widths": [8, 8],
        "critic_widths": [8, 8],
        "critic_dropout": 0.1,
        "embedding_dim": 4,
    },
    "resnet": {
        "family": "resnet",
        "conditional": True,
        "latent_dim": 8,
        "generator_widths": [4, 4, 4],
        "critic_widths": [4, 4, 4],
        "critic_halvings": 2,
        "upsampling": "nearest",
        "critic_norm": "spectral",
    },
    "biggan": {
        "family": "biggan",
        "conditional": True,
        "latent_dim": 6,
        "generator_widths": [8, 8, 8],
        "critic_widths": [8, 8],
        "critic_halvings": 2,
        "embedding_dim": 4,
        "attention_size": 8,
    },
    "unet": {
        "family": "unet",
        "conditional": False,
        "latent_dim": 4,
        "generator_width": 4,
        "generator_halvings": 1,
        "generator_residual": True,
        "critic_width": 4,
        "critic_halvings": 1,
    },
    "cyclegan": {
        "family": "cyclegan",
        "conditional": False,
        "latent_dim": 4,
        "generator_width": 4,
        "generator_halvings": 1,
        "generator_residual": False,
        "critic_width": 4,
        "critic_halvings": 1,
    },
    "stargan": {
        "family": "stargan",
        "conditional": False,
        "latent_dim": 4,
        "generator_width": 4,
        "generator_halvings": 1,
        "generator_residual": False,
        "critic_width": 4,
        "critic_halvings": 1,
        "styles": 4,
    },
    "r3gan": {
        "family": "r3gan",
        "conditional": True,
        "latent_dim": 8,
        "widths": [8, 8, 8],
        "blocks_per_stage": 1,
        "group_width": 4,
        "expansion": 2,
        "embedding_dim": 4,
    },
}
PAIRED = {
    "data.inputs": {"kind": "denoise", "std": 0.3},
    "network": "unet",
    "loss.objective": "paired",
    "loss.pixel_weight": 10.0,
    "loss.feature_weight": 1.0,
    "loss.diversity_weight": 0.5,
    "evaluate.accuracy_score_images": None,
    "evaluate.latent.truncations": [],
    "evaluate.latent.kept_share": None,
    "register.guards.memorised_share": None,
}
UNPAIRED = {
    **{name: value for name, value in PAIRED.items() if not name.startswith("loss.")},
    "data.inputs": {"kind": "invert", "sigma_px": 1.0},
    "network": "cyclegan",
    "loss.objective": "unpaired",
    "loss.cycle_weight": 10.0,
    "loss.identity_weight": 1.0,
    "loss.history_images": 6,
}
STYLES = {
    **{name: value for name, value in UNPAIRED.items() if not name.startswith("loss.")},
    "data.inputs": {
        "kind": "styles",
        "styles": [
            {"name": "negative", "degradation": {"kind": "invert", "sigma_px": 0.3}},
            {"name": "blurred", "degradation": {"kind": "deblur", "sigma_px": 1.0}},
            {"name": "noisy", "degradation": {"kind": "denoise", "std": 0.3}},
        ],
    },
    "network": "stargan",
    "loss.objective": "styles",
    "loss.style_weight": 1.0,
    "loss.cycle_weight": 10.0,
}
VAE = {
    "loss": {
        "objective": "vae",
        "beta": {"shape": "linear", "start": 0.0, "end": 2.0, "over_images": 48, "warmup_images": 0},
    },
    "network.critic_norm": "batch",
    "network.conditional_batch_norm": False,
    "train.alarms.critic_won": None,
    "evaluate.latent.kept_share": None,
}
TINY = {
    "data.source": "data/raw/digits.zip",
    "extractor.width": 4,
    "extractor.feature_dim": 8,
    "extractor.total_images": 2560,
    "extractor.device": "cpu",
    "extractor.threads": 1,
    "network.latent_dim": 8,
    "network.generator_width": 4,
    "network.critic_width": 4,
    "train.device": "cpu",
    "train.threads": 1,
    "train.total_images": 96,
    "train.generator_optimizer.learning_rate": 1e-3,
    "train.critic_optimizer.learning_rate": 4e-4,
    "train.batch_size": 8,
    "train.log_every_images": 32,
    "train.sample_every_images": 48,
    "train.checkpoint_every_images": 24,
    "train.keep_checkpoints": 2,
    "train.measure_every_images": 40,
    "train.measure_samples": 20,
    "evaluate.device": "cpu",
    "evaluate.threads": 1,
    "evaluate.samples": 400,
    "evaluate.interval_splits": 20,
    "evaluate.extrapolation_points": 3,
    "evaluate.near_copies": 4,
    "evaluate.accuracy_score_images": 640,
    "evaluate.latent.truncations": [0.5, 1.0],
    "evaluate.latent.path_pairs": 100,
    "evaluate.kid_subset_size": 50,
    "evaluate.kid_subsets": 5,
    "evaluate.batch_size": 100,
}


def tiny_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a params.yaml: the preset, scaled down, then changed by dotted names."""
    values: dict[str, Any] = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    family = changes.get("network", "dcgan")
    scaled = {name: value for name, value in TINY.items() if family == "dcgan" or not name.startswith("network.")}
    return changed(values, {**scaled, **changes})


def changed(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with some set by dotted names; `network` also takes the name of a family."""
    for name, value in changes.items():
        *path, key = name.split(".")
        section = values
        for part in path:
            section = section[part]
        section[key] = copy.deepcopy(NETWORKS[value] if name == "network" else value)
    return values


def tiny_config(changes: Mapping[str, Any]) -> RunConfig:
    """The validated object of `tiny_values`."""
    return RunConfig.model_validate(tiny_values(changes))
