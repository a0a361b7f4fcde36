"""A project folder with real data and a generator that was never trained: enough to show people, and to judge by."""

from pathlib import Path

import torch
import yaml

from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import open_packed
from ganlib.datasets.packing.pack import pack
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator
from pipelines import paths
from tests.configs import ROOT, tiny_values

CHANGES = {"data.source": str(ROOT / "data/raw/digits.zip"), "preprocess.workers": 1, "tracking.experiment": "quizzes"}


def make_project(root: Path) -> None:
    """params.yaml, data/processed and models/generator."""
    values = tiny_values(CHANGES)
    config = RunConfig.model_validate(values)
    root.mkdir()
    (root / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    pack(config.data, config.preprocess, root / paths.PROCESSED, scratch=root / paths.PACKING)
    image = open_packed(root / paths.PROCESSED).image
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, critic = build_generator(config.network, image), build_critic(config.network, image)
    ImageGenerator(generator, config.network, image, {"seen_images": 640}).save(root / paths.GENERATOR, critic=critic)
