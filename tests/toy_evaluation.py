"""A world whose truth is known: each class is a Gaussian on a plane in the space of 8 x 8 pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganlib.config import EvaluateOptions, ImageSpec, InputsOptions, MlpOptions
from ganlib.datasets.packed.manifest import Manifest
from ganlib.datasets.packed.reading import PackedData, Split
from ganlib.evaluation.drawing import Draw, Reference, draw, open_reference
from ganlib.metrics.extractors import Extractor, Features
from ganlib.networks.base import Generator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, to_uint8
from tests.configs import tiny_config

CLASSES = ("ant", "bee", "cat")
SIZE, LATENTS = 8, 6
PIXELS = SIZE**2
_DRAW = np.random.default_rng(1)
CENTRES = torch.from_numpy(_DRAW.uniform(-0.3, 0.3, (len(CLASSES), PIXELS))).float()
# Orthonormal rows.
PLANE = torch.from_numpy(np.linalg.qr(_DRAW.normal(size=(PIXELS, LATENTS)))[0].T.copy()).float()
REACH = 0.7

# Images [N, PIXELS] of latents [N, LATENTS] and labels [N].
Painter = Callable[[Tensor, Tensor], Tensor]


def paint(latents: Tensor, labels: Tensor) -> Tensor:
    """The true distribution, where latents are normal."""
    return CENTRES[labels] + REACH * latents @ PLANE


class PaintedGenerator(Generator):
    """Shows what a painter makes; an unconditional one paints the first class only."""

    def __init__(self, painter: Painter, *, conditional: bool = True, size: int = SIZE) -> None:
        super().__init__(latent_dim=LATENTS, num_classes=len(CLASSES) if conditional else 0)
        self.painter, self.size = painter, size
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        chosen = torch.zeros(len(latents), dtype=torch.int64) if labels is None else labels
        return (self.gain * self.painter(latents, chosen)).view(-1, 1, self.size, self.size)


class PixelExtractor(Extractor):
    """Features are pixels, logits say which centre is near."""

    name = "domain"
    alpha = "channel"
    weights_sha256 = "0" * 64
    device = torch.device("cpu")

    def look(self, images: Tensor) -> Features:
        values = images.flatten(1)
        return Features(values, -torch.cdist(values, CENTRES) if values.shape[1] == PIXELS else values[:, :3])


def image_generator(painter: Painter = paint, *, conditional: bool = True, size: int = SIZE) -> ImageGenerator:
    network = MlpOptions(
        family="mlp",
        conditional=conditional,
        latent_dim=LATENTS,
        generator_widths=(8,),
        critic_widths=(8,),
        critic_dropout=0.0,
        embedding_dim=2,
    )
    generator = PaintedGenerator(painter, conditional=conditional, size=size)
    return ImageGenerator(generator, network, image_spec(size), {"seen_images": 1})


def image_spec(size: int = SIZE) -> ImageSpec:
    return ImageSpec(size=size, channels=1, classes=CLASSES)


def real_images(count: int, seed: int, *, labels: np.ndarray | None = None) -> tuple[Images, np.ndarray]:
    """From the true distribution, with their classes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(CLASSES), count) if labels is None else labels
    latents = torch.from_numpy(random.normal(size=(count, LATENTS))).float()
    return to_uint8(paint(latents, torch.from_numpy(labels)).view(-1, 1, SIZE, SIZE)), labels


def split(name: str, images: Images, labels: np.ndarray | None) -> Split:
    return Split(name, f"{name} {len(images)}", labels, [images], np.array([0, len(images)]))


def packed(train: tuple[Images, np.ndarray | None], test: tuple[Images, np.ndarray | None]) -> PackedData:
    """Both sides' images and labels as packed data."""
    manifest = Manifest.model_construct(resizer="bicubic")
    return PackedData(image_spec(train[0].shape[1]), split("train", *train), split("test", *test), manifest)


def reference_of(data: PackedData, folder: Path, inputs: InputsOptions | None = None) -> Reference:
    """Seen by pixels; labelled data are classified by the nearest centre."""
    extractor: Any = PixelExtractor()
    classifier = None if data.train.labels is None else extractor
    return open_reference(data, extractor, classifier, cache=folder, notify=print, inputs=inputs)


def options_of(**changes: Any) -> EvaluateOptions:
    """Those of a test, changed by dotted names with two underscores for the dot."""
    named = {f"evaluate.{name.replace('__', '.')}": value for name, value in changes.items()}
    return tiny_config({"evaluate.samples": 1000, "evaluate.batch_size": 250, **named}).evaluate


def draw_of(generator: ImageGenerator, reference: Reference, options: EvaluateOptions, name: str = "toy") -> Draw:
    return draw(generator, name, reference, options)
