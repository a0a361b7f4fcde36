"""Small configurations for tests: the default recipe, scaled down."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ganlib.config import RunConfig

ROOT = Path(__file__).resolve().parents[1]
PRESET = ROOT / "presets" / "digits.yaml"
R3GAN = {
    "family": "r3gan",
    "conditional": True,
    "latent_dim": 8,
    "widths": [8, 8, 8],
    "blocks_per_stage": 1,
    "group_width": 4,
    "expansion": 2,
    "embedding_dim": 4,
}
TINY = {
    "data.source": "data/raw/digits.zip",
    "extractor.width": 4,
    "extractor.feature_dim": 8,
    "extractor.total_images": 2560,
    "extractor.threads": 1,
    "network.latent_dim": 8,
    "network.generator_width": 4,
    "network.critic_width": 4,
    "train.device": "cpu",
    "train.threads": 1,
    "train.total_images": 96,
    "train.batch_size": 8,
    "train.log_every_images": 32,
    "train.sample_every_images": 48,
    "train.checkpoint_every_images": 24,
    "train.keep_checkpoints": 2,
    "train.measure_every_images": 40,
    "train.measure_samples": 20,
    "evaluate.threads": 1,
    "evaluate.samples": 200,
    "evaluate.repeats": 2,
    "evaluate.kid_subset_size": 50,
    "evaluate.kid_subsets": 5,
    "evaluate.batch_size": 100,
}


def tiny_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a params.yaml: the preset, scaled down, then changed by dotted names."""
    values: dict[str, Any] = yaml.safe_load(PRESET.read_text(encoding="utf-8"))
    for name, value in {**TINY, **changes}.items():
        if name == "network" and value == "r3gan":
            values["network"] = dict(R3GAN)
            continue
        section, _, key = name.partition(".")
        if section == "network" and key not in values["network"]:
            continue
        values[section][key] = value
    return values


def tiny_config(changes: Mapping[str, Any]) -> RunConfig:
    """The validated object of `tiny_values`."""
    return RunConfig.model_validate(tiny_values(changes))
