"""A critic that also sees frozen features (after Sauer et al. 2021), beside plain ones, at equal compute.

    python -m benchmarks.frozen_features [CRITIC...] [--seeds 0 1 2] [--cpu-s 480]

Run it in a project of RGB images whose `extractor` stage has run: that one's data and domain features are the judge,
its params.yaml is the recipe but for critic and rates. One thread. A critic's speed is measured first, which tells how
many images it is given.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import quality
from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.metrics.extractors import load_domain_extractor, load_extractor
from ganlib.metrics.extractors.efficientnet import EfficientNetExtractor
from ganlib.networks.base import Critic
from ganlib.networks.blocks import leaky_relu
from ganlib.networks.convolution import Conv2d
from ganlib.networks.dcgan import DcganCritic
from ganlib.networks.spectral import spectral_norm
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.iteration import Iteration
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state

CRITICS = ("plain32", "plain16", "random", "imagenet")
SCALES = ((0, 4), (4, 6), (6, 12))  # of the network's blocks: down to a quarter, an eighth and a sixteenth of the side
HEAD_WIDTH = 32
CALIBRATION_IMAGES = 256
TIMED_ITERATIONS = 30


@dataclass(frozen=True)
class Frozen:
    """The lower part of a pretrained network, scale by scale, and the root mean square of its features at each."""

    parts: tuple[nn.Module, ...]
    sizes: tuple[float, ...]

    @classmethod
    def calibrated(cls, network: nn.Sequential, images: Tensor) -> Self:
        """With the sizes that features of these images have, [N, 3, H, W] in [-1, 1]."""
        parts = tuple(network[start:stop] for start, stop in SCALES)
        sizes = []
        with torch.no_grad():
            maps = _levels(images)
            for part in parts:
                maps = part(maps)
                sizes.append(float(maps.square().mean().sqrt()))
        return cls(parts, tuple(sizes))

    def look(self, images: Tensor) -> Iterator[Tensor]:
        """[N, 3, H, W] -> features of size 1 at each scale, [N, C, h, w]."""
        maps = _levels(images)
        for part, size in zip(self.parts, self.sizes, strict=True):
            maps = part(maps)
            yield maps / size


class Head(nn.Module):
    """A small critic of the features at one scale, with spectral norm and projection."""

    def __init__(self, maps: Tensor, num_classes: int) -> None:
        super().__init__()
        features = HEAD_WIDTH * maps[0, 0].numel()
        self.layers = nn.Sequential(spectral_norm(Conv2d(maps.shape[1], HEAD_WIDTH, 3, padding=1)), leaky_relu())
        self.out = spectral_norm(nn.Linear(features, 1))
        self.projected = spectral_norm(nn.Embedding(num_classes, features)) if num_classes else None

    def forward(self, maps: Tensor, labels: Tensor | None) -> Tensor:
        """[N, C, h, w], labels [N] -> logits [N]."""
        features: Tensor = self.layers(maps).flatten(1)
        logits: Tensor = self.out(features).squeeze(1)
        return logits if self.projected is None else logits + (self.projected(labels) * features).sum(dim=1)


class FrozenFeaturesCritic(Critic):
    """An ordinary critic of the pixels and a head for each scale of frozen features: [N, 1 + scales] logits."""

    def __init__(self, frozen: Frozen, *, size: int, channels: int, num_classes: int, **options: Any) -> None:
        pixels = DcganCritic(size=size, channels=channels, num_classes=num_classes, **options)
        super().__init__(num_classes=num_classes, couples_samples=False, feature_dim=pixels.feature_dim)
        self.pixels = pixels
        self.heads = nn.ModuleList(
            Head(maps, num_classes) for maps in frozen.look(torch.zeros(1, channels, size, size))
        )
        self.__dict__["frozen"] = frozen  # no part of what is trained, averaged or counted

    def embed(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """The features of the pixels alone."""
        return self.pixels.embed(images, condition)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, 3, H, W], labels [N] -> logits [N, 1 + scales]."""
        scales = self.__dict__["frozen"].look(images)
        heads = [head(maps, condition) for head, maps in zip(self.heads, scales, strict=True)]
        return torch.stack([self.pixels(images, condition), *heads], dim=1)

    def lower_layers(self) -> list[nn.Module]:
        """Those of the pixels' critic."""
        return self.pixels.lower_layers()


def _levels(images: Tensor) -> Tensor:
    """From [-1, 1] to what the network was trained on: (level - 127) / 128."""
    return images * (127.5 / 128) + 0.5 / 128


def configuration(critic: str, *, seed: int, images: int) -> RunConfig:
    """The project's recipe with this critic, and the rates that suit it."""
    values = quality.recipe("params.yaml", images=images, seed=seed, threads=1).model_dump(mode="json", by_alias=True)
    values["network"]["critic_width"] = 32 if critic == "plain32" else 16
    rates = (1e-3, 4e-4, 0.9) if critic.startswith("plain") else (2e-3, 2e-3, 0.99)
    for name, rate in zip(("generator", "critic"), rates, strict=False):
        values["train"][f"{name}_optimizer"] |= {"beta1": 0.0, "beta2": rates[2]}
        values["train"][f"{name}_optimizer"]["learning_rate"]["start"] = rate
    return RunConfig.model_validate(values)


@contextmanager
def critic_built(critic: str, data: PackedData) -> Iterator[None]:
    """In here a DCGAN has this critic."""
    if critic.startswith("plain"):
        yield
        return
    config = configuration(critic, seed=0, images=1)
    folder, cpu = Path("models/extractor"), torch.device("cpu")
    extractor = load_extractor("efficientnet-lite0", config.extractor, folder=folder, weights_cache=folder, device=cpu)
    assert isinstance(extractor, EfficientNetExtractor)
    network = extractor.model
    assert isinstance(network, nn.Sequential)
    if critic == "random":
        torch.manual_seed(77)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
    pictures = torch.from_numpy(data.train.take(np.arange(min(CALIBRATION_IMAGES, len(data.train)))))
    frozen = Frozen.calibrated(network, pictures.permute(0, 3, 1, 2) / 127.5 - 1)
    with patch.object(sys.modules["ganlib.networks.dcgan"], "DcganCritic", partial(FrozenFeaturesCritic, frozen)):
        yield


def cpu_s_an_image(critic: str, data: PackedData) -> float:
    """Measured on some iterations."""
    config = configuration(critic, seed=0, images=1_000_000)
    state, recipe = initial_state(config, data.image, prepare_device(config.train)), Recipe.of(config, data.image)
    iteration = Iteration(state, recipe, SplitFeed(data.train, recipe, ALONE, state.sums.device), ALONE)
    iteration.run()
    begun = time.process_time()
    for _ in range(TIMED_ITERATIONS):
        iteration.run()
    return (time.process_time() - begun) / TIMED_ITERATIONS / config.train.batch_size


def main() -> None:
    """Print a row for each critic and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("critics", nargs="*", default=CRITICS, metavar="CRITIC", help=", ".join(CRITICS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cpu-s", type=float, default=480.0)
    options = parser.parse_args()
    data = open_packed(Path("data/processed"))
    extractor = load_domain_extractor(Path("models/extractor"), torch.device("cpu"))
    for critic in options.critics:
        with critic_built(critic, data):
            images = round(options.cpu_s / cpu_s_an_image(critic, data) / 64) * 64
            for seed in options.seeds:
                row = quality.score(configuration(critic, seed=seed, images=images), data, extractor)
                told = {name: round(value, 2) for name, value in row.items()}
                print({"critic": critic, "seed": seed, "images": images, **told}, flush=True)


if __name__ == "__main__":
    main()
