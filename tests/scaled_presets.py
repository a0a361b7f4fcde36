"""Every preset, scaled down until a test can afford it: few channels, small images, short schedules."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ganlib.config import ImageSpec, RunConfig
from ganlib.sampling import from_uint8
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.ingredients import Ingredients
from ganlib.training.inputs import RealBatch
from ganlib.training.loop import train
from ganlib.training.recipe import Recipe
from ganlib.training.showing import Examples, Measure
from ganlib.training.state import TrainState, initial_state
from pipelines.presets import known_presets, preset_text
from tests.configs import ROOT
from tests.toy_training import WholeFeed

PRESETS = [preset.name for preset in known_presets(ROOT)]
CLASSES = ("a", "b", "c")
ITERATIONS = 8
BATCH_SIZE = 24
SMALL: dict[str, Any] = {
    "generator_width": 4,
    "critic_width": 4,
    "latent_dim": 8,
    "embedding_dim": 4,
    "group_width": 4,
}


class Killed(Exception):
    """Stands for the kill of the process."""


def scaled(name: str, *, total_iterations: int = ITERATIONS) -> RunConfig:
    """The preset with all its switches, and its schedules squeezed into the run."""
    values = yaml.safe_load(preset_text(ROOT / "presets" / f"{name}.yaml"))
    size = values["data"]["image_size"] = min(values["data"]["image_size"], 32)
    network, options = values["network"], values["train"]
    for key in network.keys() & SMALL.keys():
        network[key] = SMALL[key]
    resolutions = (size // 4).bit_length()
    for key in network.keys() & {"widths", "generator_widths", "critic_widths"}:
        network[key] = [8] * min(len(network[key]), resolutions)
    iteration = BATCH_SIZE * options["critic_steps"]
    total = iteration * total_iterations
    options |= {
        "device": "cpu",
        "precision": "fp32" if options["precision"] == "tf32" else options["precision"],  # CPUs have none
        "devices": 1,
        "threads": 1,
        "deterministic": True,
        "batch_size": BATCH_SIZE,
        "total_images": total,
        "ema_half_life_images": total,
        "log_every_images": 2 * iteration,
        "sample_every_images": total,
        "checkpoint_every_images": 3 * iteration,
        "measure_every_images": 4 * iteration,
        "measure_samples": 4,
    }
    control = values["augmentation"]["critic"].get("control", {})
    if control.get("kind") == "adaptive":
        control |= {"every_images": iteration, "full_range_images": 8 * iteration}
    _squeeze(values)
    return RunConfig.model_validate(values)


def _squeeze(values: Any) -> None:
    """Let every schedule span the run."""
    for value in values.values() if isinstance(values, dict) else ():
        if isinstance(value, dict) and "over_images" in value:
            value["over_images"] = None
        _squeeze(value)


def image_of(config: RunConfig) -> ImageSpec:
    return ImageSpec(
        size=config.data.image_size,
        channels=config.data.channels,
        classes=CLASSES if config.network.conditional else (),
    )


class NoiseFeed(WholeFeed):
    """This rank's share of seeded noise; raises instead of a batch from `killed_at` on."""

    def __init__(self, config: RunConfig, ranks: Ranks = ALONE, killed_at: int | None = None) -> None:
        self.image, self.share, self.killed_at = image_of(config), ranks.share(BATCH_SIZE), killed_at

    def batch(self, seen_images: int) -> RealBatch:
        if self.killed_at is not None and seen_images >= self.killed_at:
            raise Killed
        draw = np.random.default_rng(seen_images)
        shape = (BATCH_SIZE, self.image.channels, self.image.size, self.image.size)
        pixels = torch.from_numpy(draw.uniform(-1, 1, shape)).to(torch.get_default_dtype())
        labels = torch.from_numpy(draw.integers(0, len(CLASSES), BATCH_SIZE)) if self.image.classes else None
        return RealBatch(pixels[self.share], None if labels is None else labels[self.share])


def _examples(config: RunConfig) -> Examples:
    image = image_of(config)
    wanted = np.random.default_rng(1).integers(0, 256, (12, image.size, image.size, image.channels), dtype=np.uint8)
    return Examples(from_uint8(wanted), wanted)


def run(
    config: RunConfig, folder: Path, *, ranks: Ranks = ALONE, killed_at: int | None = None, resumed: bool = False
) -> TrainState:
    """Train to the end, or until killed."""
    torch.manual_seed(1)  # what a new process finds is not what the old one left
    state = initial_state(config, image_of(config), torch.device("cpu"), ranks=ranks)
    ingredients = Ingredients.of(config, image_of(config), torch.device("cpu"), {})
    store = CheckpointStore(folder, ingredients, config.train)
    if resumed:
        found: list[str] = []
        assert store.load_latest(state, notify=found.append, ranks=ranks), found
    return train(
        state,
        Recipe.of(config, image_of(config)),
        NoiseFeed(config, ranks, killed_at),
        Measure("domain/fid", lambda images: float(images.mean()), (1,) * len(CLASSES), _examples(config)),
        store,
        ranks=ranks,
    )
