"""A critic that also sees frozen features (after Sauer et al. 2021), beside plain ones, at equal compute.

    python -m benchmarks.frozen_features [CRITIC...] [--seeds 0 1 2] [--cpu-s 480]

Run it in a project of RGB images whose `extractor` stage has run: that one's data and domain features are the judge,
its params.yaml is the recipe, of the family dcgan, but for critic and rates. One thread. A critic's speed is measured
first, which tells how many images it is given.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import quality
from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.metrics.extractors import load_domain_extractor
from ganlib.networks import FrozenFeaturesCritic
from ganlib.networks.frozen_features import FEATURE_SIZE
from ganlib.pretrained.efficientnet import levels_of
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.iteration import Iteration
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state

CRITICS = ("plain32", "plain16", "random", "imagenet")
CALIBRATION_IMAGES = 256
TIMED_ITERATIONS = 30


class RandomFeaturesCritic(FrozenFeaturesCritic):
    """Its frozen network has random weights, and features of the same size as those of the pretrained one."""

    images: ClassVar[Tensor]  # to calibrate it on, [N, 3, H, W] in [-1, 1]

    def bring(self, weights: Path) -> None:
        """Random ones in place of those in the file."""
        super().bring(weights)
        with torch.random.fork_rng():
            torch.manual_seed(77)
            for layer in self.frozen.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    assert layer.bias is not None
                    nn.init.zeros_(layer.bias)
        maps = levels_of(self.images)
        with torch.no_grad():
            for place, part in enumerate(self.frozen):
                found = part(maps)
                scale = _Scale(FEATURE_SIZE / float(found.square().mean().sqrt()))
                self.frozen[place] = nn.Sequential(part, scale)
                maps = scale(found)


class _Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.factor


def configuration(critic: str, *, seed: int, images: int) -> RunConfig:
    """The project's recipe with this critic, and the rates that suit it."""
    values = quality.recipe("params.yaml", images=images, seed=seed, threads=1).model_dump(mode="json", by_alias=True)
    plain = critic.startswith("plain")
    values["network"]["critic_width"] = 32 if critic == "plain32" else 16
    values["network"]["critic_pretrained"] = None if plain else "efficientnet-lite0"
    rates = (1e-3, 4e-4, 0.9) if plain else (2e-3, 2e-3, 0.99)
    for name, rate in zip(("generator", "critic"), rates, strict=False):
        values["train"][f"{name}_optimizer"] |= {"beta1": 0.0, "beta2": rates[2]}
        values["train"][f"{name}_optimizer"]["learning_rate"]["start"] = rate
    return RunConfig.model_validate(values)


@contextmanager
def critic_built(critic: str, data: PackedData) -> Iterator[None]:
    """In here the frozen network of a critic has random weights where those are asked for."""
    if critic != "random":
        yield
        return
    pictures = torch.from_numpy(data.train.take(np.arange(min(CALIBRATION_IMAGES, len(data.train)))))
    RandomFeaturesCritic.images = pictures.permute(0, 3, 1, 2) / 127.5 - 1
    with patch.object(sys.modules["ganlib.networks.dcgan"], "FrozenFeaturesCritic", RandomFeaturesCritic):
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
