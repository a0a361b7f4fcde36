"""Feature extractors: uint8 images in, features and class logits out."""

import hashlib
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, assert_never

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import ganlib.metrics.classifier
from ganlib.config import ExtractorName, ExtractorOptions, ImageSpec
from ganlib.errors import UserError
from ganlib.metrics.classifier import Classifier, Images, to_input
from ganlib.source_digest import source_digest

WEIGHTS = "classifier.safetensors"
DESCRIPTION = "extractor.json"
INCEPTION_BATCH_SIZE = 32


@dataclass(frozen=True)
class Features:
    """Of N images: `values` float32 [N, D] and `logits` float32 [N, K]."""

    values: torch.Tensor
    logits: torch.Tensor

    def __len__(self) -> int:
        return len(self.values)


class Extractor(ABC):
    """Turns images into features; `weights_sha256` says with what, `alpha` what becomes of a fourth channel."""

    name: ExtractorName
    alpha: ClassVar[str]
    weights_sha256: str
    device: torch.device

    @property
    def identity(self) -> str:
        """Everything that the bits of the features depend on, but for the images."""
        code = source_digest(sys.modules[__name__], ganlib.metrics.classifier)
        return f"{self.name} {self.weights_sha256} alpha={self.alpha} {self.device.type} {torch.__version__} {code}"

    @abstractmethod
    def extract(self, images: Images) -> Features:
        """uint8 [N, H, W, C] -> features on the CPU."""

    def extract_all(self, batches: Iterable[Images]) -> Features:
        """The features of all batches, in order."""
        parts = [self.extract(images) for images in batches]
        return Features(torch.cat([p.values for p in parts]), torch.cat([p.logits for p in parts]))


class DomainExtractor(Extractor):
    """The classifier trained by the pipeline on the data set's own labels."""

    name = "domain"
    alpha = "channel"

    def __init__(self, classifier: Classifier, weights_sha256: str, device: torch.device) -> None:
        self.classifier = classifier.to(device)
        self.weights_sha256 = weights_sha256
        self.device = device

    def extract(self, images: Images) -> Features:
        """uint8 [N, H, W, C] -> features [N, D] and logits over the data set's classes."""
        with torch.inference_mode():
            values, logits = self.classifier(to_input(images, self.device))
        return Features(values.cpu(), logits.cpu())


class InceptionExtractor(Extractor):
    """torch-fidelity's Inception v3: 2,048 features and unbiased logits; RGBA images are seen on white."""

    name = "inception"
    alpha = "on_white"

    def __init__(self, weights: Path, device: torch.device) -> None:
        # Imported here: torch-fidelity and torchvision take seconds that domain features do not need.
        from ganlib.metrics.inception import load_inception

        with weights.open("rb") as file:
            self.weights_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        # Channels-last is 1.45 times as fast on CPU at a feature error of 2e-5.
        self.model: Any = load_inception(weights, device).to(memory_format=torch.channels_last)
        self.device = device

    def extract(self, images: Images) -> Features:
        """uint8 [N, H, W, C] of any size -> features [N, 2048] and logits [N, 1008].

        Grey is repeated to RGB; RGBA is composited on white.
        """
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), INCEPTION_BATCH_SIZE):
                chunk = torch.from_numpy(images[start : start + INCEPTION_BATCH_SIZE]).to(self.device)
                planes = chunk.permute(0, 3, 1, 2)
                rgb = on_white(planes) if planes.shape[1] == 4 else planes.expand(-1, 3, -1, -1)
                parts.append(tuple(part.float().cpu() for part in self.model(rgb)))
        return Features(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))


def on_white(images: torch.Tensor) -> torch.Tensor:
    """uint8 RGBA [N, 4, H, W] composited on white -> uint8 RGB [N, 3, H, W], rounded to the nearest."""
    colour, alpha = images[:, :3].int(), images[:, 3:].int()
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def save_extractor(folder: Path, classifier: Classifier | None, image: ImageSpec) -> None:
    """Write the trained classifier, or the fact that unlabelled data have none."""
    folder.mkdir(parents=True, exist_ok=True)
    description: dict[str, Any] = {"image": image.model_dump(mode="json"), "domain": None}
    if classifier is not None:
        save_file(classifier.state_dict(), folder / WEIGHTS)
        shape = {"width": classifier.trunk[0].out_channels, "feature_dim": classifier.head.in_features}
        description["domain"] = shape
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_domain_extractor(folder: Path, device: torch.device) -> DomainExtractor:
    """Read what `save_extractor` wrote.

    Raises:
        UserError: nothing there, damaged, or the data had no labels.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description["domain"] is None:
            raise UserError(unlabelled_message("extractor"))
        image = ImageSpec.model_validate(description["image"])
        shape = description["domain"]
        classifier = Classifier(image=image, width=shape["width"], feature_dim=shape["feature_dim"])
        classifier.load_state_dict(load_file(folder / WEIGHTS))
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{folder}: no usable extractor ({reason}); run the extractor stage") from None
    return DomainExtractor(classifier.eval().requires_grad_(False), digest, device)


def unlabelled_message(section: str) -> str:
    """What to say when domain features are asked of unlabelled data."""
    return (
        f"{section}: domain features need labelled data (class folders), found none in data.source; "
        "set train.extractor and evaluate.extractor to inception"
    )


def load_extractor(
    name: ExtractorName, options: ExtractorOptions, *, folder: Path, weights_cache: Path, device: torch.device
) -> Extractor:
    """The extractor of this name, ready to use.

    Raises:
        UserError: its weights are not to be had, and how to mend that.
    """
    match name:
        case "domain":
            return load_domain_extractor(folder, device)
        case "inception":
            # Imported here: torch-fidelity and torchvision take seconds that domain features do not need.
            from ganlib.metrics.inception import resolve_weights

            weights = resolve_weights(options.inception_weights, options.inception_sha256, weights_cache)
            return InceptionExtractor(weights, device)
        case _:
            assert_never(name)
