"""Does the generator give its training images back? Nearest neighbours in features and in pixels."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ganlib.config import EvaluateOptions
from ganlib.datasets.packed.reading import Split
from ganlib.evaluation.drawing import Draw, Reference, draw_images
from ganlib.evaluation.record import Copying
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.memorisation import Closeness, TrainingSet, as_near, measure_memorisation
from ganlib.sampling import Images

# A copy is a copy at this size too, and 50,000 RGB images take 150 MB.
LARGEST_SIDE = 32
# So many training images are made copies of, with noise of so many grey levels (standard deviation).
PLANTED, PLANTED_LEVELS = 200, 2.0


def measure_copying(drawn: Draw, reference: Reference, options: EvaluateOptions) -> dict[str, Copying]:
    """Generated against held-out images, both seen from the training set, in `features` and in `pixels`.

    Pixels are compared in the colours as stored, as Euclidean distances of
    uint8 values. Images of more than 32 pixels are first averaged over areas down
    to 32 a side: each is read or made in its batch, and only the small ones are kept.

    A training image that occurs more than once counts once, at its first
    place, and held-out images that are also in the training set do not count. Copies are planted beside the
    generated images, to see what the comparison makes of them; see `ganlib.metrics.memorisation`.

    Raises:
        UserError: fewer than 100 training, held-out or generated images that count.
    """
    training, held_out = (_thumbnails(split.batches()) for split in (reference.data.train, reference.data.test))
    asked = drawn.sample.labels
    generated = _thumbnails(draw_images(drawn.generator, options, asked, truncation=drawn.truncation))
    distinct, unseen = _distinct(training, held_out)
    copies = plant_copies(reference.data.train, distinct.numpy(), seed=seed_for("planted copies", options.seed))
    spaces = {
        "features": (
            reference.train.values,
            drawn.sample.features.values,
            reference.test.values[unseen],
            reference.extractor.extract(copies).values,
        ),
        "pixels": (training.vectors, generated.vectors, held_out.vectors[unseen], _small(copies).flatten(1)),
    }
    seen_from_training = {name: _seen(*vectors, distinct) for name, vectors in spaces.items()}
    _, held_out_pixels, planted_pixels = seen_from_training["pixels"]
    # A distance of pixels means the same everywhere; one of features means nothing by itself.
    twins = as_near(held_out_pixels.distance, planted_pixels.distance)
    return {
        name: Copying.of(
            measure_memorisation(
                *sides,
                twins=twins,
                level=options.confidence,
                suspects=options.near_copies,
                seed=seed_for(f"copying {name}", options.seed),
            )
        )
        for name, sides in seen_from_training.items()
    }


def plant_copies(training: Split, among: NDArray[np.int64], *, seed: int) -> Images:
    """Some of the training images with these indices, with noise, uint8 [P, H, W, C], P at most 200."""
    draw = np.random.default_rng(seed)
    images = training.take(draw.permutation(among)[:PLANTED])
    noisy = images + draw.normal(scale=PLANTED_LEVELS, size=images.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Thumbnails:
    """Images as vectors, uint8 [N, D], and a digest of each image as it was."""

    vectors: Tensor
    digests: list[bytes]


def _thumbnails(batches: Iterable[Images]) -> _Thumbnails:
    vectors, digests = [], []
    for images in batches:
        vectors.append(_small(images).flatten(1))
        digests += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    return _Thumbnails(torch.cat(vectors), digests)


def _small(images: Images) -> Tensor:
    """uint8 [N, H, W, C] of at most LARGEST_SIDE a side."""
    pixels = torch.from_numpy(images)
    if images.shape[1] <= LARGEST_SIDE:
        return pixels
    planes = F.adaptive_avg_pool2d(pixels.permute(0, 3, 1, 2).float(), LARGEST_SIDE)
    return planes.round().to(torch.uint8).permute(0, 2, 3, 1)


def _distinct(training: _Thumbnails, held_out: _Thumbnails) -> tuple[Tensor, Tensor]:
    """Indices of the first of each training image, and of held-out images that are none of them."""
    first: dict[bytes, int] = {}
    for index, digest in enumerate(training.digests):
        first.setdefault(digest, index)
    unseen = [index for index, digest in enumerate(held_out.digests) if digest not in first]
    return torch.tensor(list(first.values())), torch.tensor(unseen, dtype=torch.int64)


def _seen(
    train: Tensor, generated: Tensor, held_out: Tensor, planted: Tensor, distinct: Tensor
) -> tuple[Closeness, Closeness, Closeness]:
    """How close generated, held-out and planted images are to the distinct ones of the training set."""
    known, places = TrainingSet.of(train[distinct]), distinct.numpy()
    one, other, copies = (_with_places(known.closeness(side), places) for side in (generated, held_out, planted))
    return one, other, copies


def _with_places(closeness: Closeness, places: NDArray[Any]) -> Closeness:
    """Nearest images by their place in the whole training set."""
    return replace(closeness, nearest=places[closeness.nearest])
