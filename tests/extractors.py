"""Pretrained networks as the parameters ask for them, and pictures for them to see."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from ganlib.config import ExtractorName
from ganlib.metrics.extractors import Extractor, load_extractor
from tests.configs import tiny_config


def load_weights(name: ExtractorName, file: Path | None, sha256: str, folder: Path) -> Extractor:
    """As the parameters would, `file` in `extractor.weights_files` or None."""
    options = tiny_config({}).extractor.model_copy(
        update={"weights_files": {name: str(file)} if file else {}, "weights_sha256": {name: sha256}}
    )
    cpu = torch.device("cpu")
    return load_extractor(name, options, folder=folder, weights_cache=folder / "weights", device=cpu)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pictures(count: int, size: int, channels: int, seed: int = 0) -> np.ndarray:
    """Smooth ones, uint8 [count, size, size, channels]."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=draw) * 255
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return smooth.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
