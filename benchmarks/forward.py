"""What the forward pass of Inception costs in several ways, and the error that each brings."""

import copy
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from benchmarks.measuring import paces, race, ratios
from ganlib.datasets.packed.reading import open_packed
from ganlib.metrics.extractors.inception import load_inception
from ganlib.sampling import Images

CPU = torch.device("cpu")
PASSES = (4, 8, 16, 64)
# torch-fidelity's default.
THEIR_PASS = 64
BASE = "torch-fidelity"


class Pass:
    """Some images through one network, in passes of one size, on so many threads."""

    def __init__(self, look: Callable[[Images], Tensor], images: Images, size: int, threads: int) -> None:
        self.look, self.images, self.size, self.threads = look, images, size, threads

    def run(self, iterations: int) -> None:
        """All images, so many times."""
        for _ in range(iterations):
            self.features()

    def features(self) -> Tensor:
        """[N, 2048]."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                return torch.cat([self.look(part) for part in _cut(self.images, self.size)])
        finally:
            torch.set_num_threads(before)


def forward_race(folder: Path, *, rounds: int, count: int) -> dict[str, Any]:
    """Seconds an image, ratios to torch-fidelity's, and relative errors of features against its own and float64's.

    `folder` holds the packed images, of which the first `count` are taken, and the weights.
    """
    images, weights = open_packed(folder / "packed").train.take(np.arange(count)), folder / "inception.pth"
    contenders = _contenders(weights, images)
    exact = _reference(weights, torch.float64)(images)
    base = contenders[BASE].features()
    errors = {
        name: {"of_torch_fidelity": _error(found, base), "of_float64": _error(found, exact)}
        for name, found in ((name, each.features()) for name, each in contenders.items())
    }
    slots = race(contenders, rounds=rounds, slot_s=0.0, device=CPU)
    return {
        "image_s": {name: pace.median / len(images) for name, pace in paces(slots).items()},
        "times_as_fast": {name: asdict(spread) for name, spread in ratios(slots, BASE).items()},
        "errors": errors,
        "disturbed_slots": sum(not slot.clean for slot in slots),
        "slots": [asdict(slot) for slot in slots],
    }


def _contenders(weights: Path, images: Images) -> dict[str, Pass]:
    threads = torch.get_num_threads()
    theirs = _reference(weights, torch.float32)
    last = _reference(weights, torch.float32, torch.channels_last)
    extractor = load_inception(weights, CPU)

    def look(part: Images) -> Tensor:
        return extractor.extract(part).values

    def look_half(part: Images) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return extractor.extract(part).values.float()

    extractor.pass_images = max(PASSES)
    found = {BASE: Pass(theirs, images, THEIR_PASS, threads)}
    found["torch-fidelity, passes of 8"] = Pass(theirs, images, 8, threads)
    found["channels-last, passes of 8"] = Pass(last, images, 8, threads)
    found |= {f"ours, passes of {size}": Pass(look, images, size, threads) for size in PASSES}
    found["ours, 1 thread"] = Pass(look, images, 8, 1)
    found["ours, bfloat16"] = Pass(look_half, images, 8, threads)
    return found


def _reference(
    weights: Path, dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format
) -> Callable[[Images], Tensor]:
    network: Any = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
    network = copy.deepcopy(network).to(dtype).to(memory_format=memory_format)
    network.feature_extractor_internal_dtype = dtype

    def look(images: Images) -> Tensor:
        planes = torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
        features: Tensor = network(planes.contiguous())[0]
        return features

    return look


def _cut(images: Images, size: int) -> list[Images]:
    return [images[start : start + size] for start in range(0, len(images), size)]


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())
