"""A training small enough for a test: grey noise of three classes, judged by its brightness."""

import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlib.config import ImageSpec, RunConfig
from ganlib.sampling import from_uint8
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.ingredients import Ingredients
from ganlib.training.inputs import Feed, RealBatch
from ganlib.training.loop import train
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.showing import Examples, Measure
from ganlib.training.state import TrainState, initial_state

IMAGE = ImageSpec(size=16, channels=1, classes=("a", "b", "c"))


class Interrupted(Exception):
    """Stands for the kill of the process."""


class WholeFeed(Feed):
    """Has its batches as images, on the device."""

    @abstractmethod
    def batch(self, seen_images: int) -> RealBatch:
        """The batch that follows after `seen_images`."""

    def choose(self, seen_images: int) -> tuple[torch.Tensor, ...]:
        batch = self.batch(seen_images)
        return (batch.images,) if batch.condition is None else (batch.images, batch.condition)

    def load(self, *chosen: torch.Tensor) -> RealBatch:
        images, labels = chosen if len(chosen) == 2 else (*chosen, None)
        return RealBatch(images, labels)


class ToyFeed(WholeFeed):
    """Grey noise, brighter with the class, where the networks are; raises instead of a batch after `stop_after`."""

    def __init__(self, config: RunConfig, stop_after: int | None = None) -> None:
        self.config, self.stop_after = config, stop_after
        self.device = torch.device("cuda" if config.train.device == "cuda" else "cpu")

    def batch(self, seen_images: int) -> RealBatch:
        if self.stop_after is not None and seen_images >= self.stop_after:
            raise Interrupted
        draw = np.random.default_rng(seen_images)
        labels = draw.integers(0, 3, 8)
        images = draw.integers(0, 60, (8, 1, 16, 16)) + 70 * labels[:, None, None, None]
        pixels = (torch.from_numpy(images).float() / 127.5 - 1).to(self.device)
        return RealBatch(pixels, torch.from_numpy(labels).to(self.device) if self.config.network.conditional else None)


def brightness(images: np.ndarray) -> float:
    return abs(float(images.mean()) - 100.0)


EXAMPLES = np.random.default_rng(1).integers(0, 256, (12, 16, 16, 1), dtype=np.uint8)
BY_BRIGHTNESS = Measure("domain/fid", brightness, (1, 1, 1), Examples(from_uint8(EXAMPLES), EXAMPLES))


def start(config: RunConfig) -> TrainState:
    return initial_state(config, IMAGE, prepare_device(config.train))


def store_of(config: RunConfig, folder: Path) -> CheckpointStore:
    ingredients = Ingredients.of(config, IMAGE, torch.device("cpu"), {})
    return CheckpointStore(folder, ingredients, config.train)


def go_on(
    state: TrainState,
    config: RunConfig,
    folder: Path,
    *,
    stop_after: int | None = None,
    events: Any = None,
    measure: Measure = BY_BRIGHTNESS,
    **more: Any,
) -> None:
    train(
        state,
        Recipe.of(config, IMAGE),
        ToyFeed(config, stop_after),
        measure,
        store_of(config, folder),
        on_event=(lambda _event: None) if events is None else events.append,
        **more,
    )


def digest(state: TrainState) -> str:
    """Of every tensor and number in the state."""
    whole = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, torch.Tensor):
            whole.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                whole.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)
        else:
            whole.update(repr(value).encode())

    add(state.state_dict())
    return whole.hexdigest()
