"""torch-fidelity's other networks: VGG-16 and CLIP, run by its own classes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from ganlib.config import PretrainedName
from ganlib.errors import UserError
from ganlib.metrics.extractors.base import Extractor, Features
from ganlib.pretrained.colours import on_white
from ganlib.pretrained.weights import reading, sha256_of, without_code


class PretrainedExtractor(Extractor):
    """The layer that torch-fidelity takes for FID, of RGB, RGBA on white, or grey; without classes, so no logits."""

    alpha = "on_white"
    packages = ("torch-fidelity", "torchvision")

    def __init__(self, name: PretrainedName, model: Any, weights_sha256: str, device: torch.device) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.device = device
        self.pass_images = 16 if device.type == "cpu" else 64
        self.model = model.to(device)

    def look(self, images: Tensor) -> Features:
        """Images [N, C, H, W] in [-1, 1], multiples of 1/127.5 -> features [N, D], and logits [N, 0]."""
        levels = ((on_white(images) + 1) * 127.5).round().to(torch.uint8)
        (values,) = self.model(levels)
        return Features(values, values[:, :0])

    def see(self, images: Tensor) -> Tensor:
        """Refused: torch-fidelity's classes take whole levels only."""
        raise UserError(
            f"extractor {self.name}: takes images of 256 levels, in which small steps vanish; "
            "use domain, random or inception"
        )


def load_pretrained(name: PretrainedName, path: Path, device: torch.device) -> PretrainedExtractor:
    """With the weights in a file: of VGG-16 a state dictionary, of CLIP the TorchScript archive that OpenAI publishes.

    TorchScript archives are read by `torch.jit.load`, which runs no Python.

    Raises:
        UserError: the file holds others, or code.
    """
    kind = FEATURE_EXTRACTORS_REGISTRY[name]
    layer = kind.get_default_feature_layer_for_metric("fid")
    with reading(path, name):
        file = path if name.startswith("clip-") else without_code(path)
        model = kind(name, [layer], feature_extractor_weights_path=file)
    return PretrainedExtractor(name, model, sha256_of(path), device)
