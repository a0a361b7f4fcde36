"""Pictures of an evaluation: uint8 [H, W, C]; the same seed gives the same picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlib.datasets.packed.reading import PackedData
from ganlib.degradations import inputs_of
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.record import Copying
from ganlib.latents import spherical
from ganlib.networks import CycleGenerator, StarGenerator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import (
    GAP_GREY,
    Images,
    balanced_labels,
    beside,
    from_uint8,
    image_grid,
    render,
    seeded_latents,
    to_uint8,
)

# Pixels between rows of pairs.
PAIR_GAP = 3
FRAME_COLUMNS = 5
BATCH_SIZE = 256
# Small images are enlarged to this side; a grid and a frame are about so wide at most.
SMALL_SIDE_PX, GRID_PX, FRAME_PX = 32, 1280, 640
MOST, FEWEST = 10, 2


@dataclass(frozen=True)
class Layout:
    """How many images pictures show, so that large images make no giant of a page.

    Attributes:
        rows, columns: of a grid; as many columns as classes where these are few.
        strip: images in a row that belongs together.
        moving: what one frame of an animation shows side by side.
        scale: how often each pixel is repeated.
    """

    rows: int
    columns: int
    strip: int
    moving: int
    scale: int

    @classmethod
    def of(cls, generator: ImageGenerator) -> "Layout":
        """For the images and classes of a generator."""
        scale = max(1, SMALL_SIDE_PX // generator.image.size)
        side = generator.image.size * scale
        room, moving = (min(MOST, max(FEWEST, wide // side)) for wide in (GRID_PX, FRAME_PX))
        classes = generator.image.num_classes if generator.conditional else 0
        return cls(room, classes if 0 < classes <= MOST else room, room, moving, scale)


def sample_grid(generator: ImageGenerator, *, seed: int, rows: int, columns: int, scale: int) -> Images:
    """A grid of samples; with as many columns as classes, a column a class."""
    return image_grid(generator.sample(seed=seed, count=rows * columns), columns=columns, scale=scale)


def real_beside_generated(
    generator: ImageGenerator, data: PackedData, *, seed: int, rows: int, columns: int, scale: int
) -> Images:
    """Held-out real images on the left, generated ones on the right.

    Both sides show the same classes at the same places; beside a generator that is asked for none the real images are
    random, as its own are.
    """
    order = np.random.default_rng(seed).permutation(len(data.test))
    if generator.conditional:
        assert data.test.labels is not None
        chosen = _in_turn(order, data.test.labels[order], rows * columns)
        generated = generator.sample(seed=seed, labels=data.test.labels[chosen].tolist())
    else:
        chosen = np.resize(order, rows * columns)
        generated = generator.sample(seed=seed, count=len(chosen))
    left, right = (image_grid(i, columns=columns, scale=scale) for i in (data.test.take(chosen), generated))
    return beside(left, right, gap=4 * scale)


def translations(
    generator: ImageGenerator, reference: Reference, *, seed: int, rows: int, columns: int, scale: int
) -> Images:
    """Columns of held-out images: the input, what is wanted, and below these what is made with several latents.

    Of two translators, for each way: what it is given, what it makes of that, and what comes back of it. Of several
    styles: the input, and it in each style.
    """
    assert generator.inputs is not None
    split, other = reference.given, reference.data.test
    draw = np.random.default_rng(seed)
    chosen = draw.permutation(len(split))[:columns]
    given = inputs_of(split, chosen, generator.inputs, seed=seed)
    if isinstance(generator.generator, StarGenerator):
        styles = [generator.way(style).translate(given, seed=seed) for style in range(generator.generator.num_ways)]
        return image_grid(np.concatenate([to_uint8(given), *styles]), columns=len(chosen), scale=scale)
    if isinstance(generator.generator, CycleGenerator):
        images = from_uint8(other.take(draw.permutation(len(other))[: len(chosen)]))
        parts = [
            part for way, each in enumerate((given, images)) for part in _there_and_back(generator, way, each, seed)
        ]
        return image_grid(np.concatenate(parts), columns=len(chosen), scale=scale)
    made = [generator.translate(given, seed=seed + row) for row in range(max(1, rows - 2))]
    return image_grid(np.concatenate([to_uint8(given), other.take(chosen), *made]), columns=len(chosen), scale=scale)


def _there_and_back(generator: ImageGenerator, way: int, given: Tensor, seed: int) -> tuple[Images, Images, Images]:
    made = generator.way(way).translate(given, seed=seed)
    return to_uint8(given), made, generator.way(1 - way).translate(from_uint8(made), seed=seed + 1)


def near_copies(drawn: Draw, found: Copying, reference: Reference, *, count: int, columns: int, scale: int) -> Images:
    """The generated images closest to training images, each above its training image; the closest pair first."""
    shown = found.suspects[:count]
    generated = drawn.images([pair.generated for pair in shown], batch_size=BATCH_SIZE)
    training = reference.data.train.take(np.array([pair.training for pair in shown]))
    line, gap = (_band(generated, rows) for rows in (1, PAIR_GAP))
    pairs = np.concatenate([generated, line, training, gap], axis=1)
    grid = image_grid(pairs, columns=min(columns, len(pairs)), scale=scale)
    return grid[: -PAIR_GAP * scale]


def truncation_strip(
    generator: ImageGenerator, psis: Sequence[float], *, seed: int, columns: int, scale: int
) -> Images:
    """A row for each psi, of the same latents and classes."""
    rows = [generator.sample(seed=seed, count=columns, truncation=psi) for psi in psis]
    return image_grid(np.concatenate(rows), columns=columns, scale=scale)


def interpolation_strip(generator: ImageGenerator, *, seed: int, rows: int, columns: int, scale: int) -> Images:
    """Each row goes along the arc between two latents, in one class; the classes take turns."""
    latents = seeded_latents(2 * rows, generator.network.latent_dim, seed)
    starts, ends = (latents[side::2].repeat_interleave(columns, dim=0) for side in (0, 1))
    points = spherical(starts, ends, torch.linspace(0, 1, columns).repeat(rows))
    images = render(generator.generator, points, _row_labels(generator, rows, columns), batch_size=BATCH_SIZE)
    return image_grid(images, columns=columns, scale=scale)


def interpolation_frames(
    generator: ImageGenerator, *, seed: int, images: int, frames_per_pair: int, shown: int, scale: int
) -> list[Images]:
    """An animation along arcs through `images` latents and back to the first: the last frame leads to the first one.

    A frame shows what a conditional generator makes of one latent in each
    class (of the first `shown`), or so many latents on their way at once.
    """
    shown = min(generator.image.num_classes, shown) if generator.conditional else shown
    labels = torch.arange(shown) if generator.conditional else None
    paths = 1 if generator.conditional else shown
    stops = seeded_latents(images * paths, generator.network.latent_dim, seed).view(images, paths, -1)
    frames = []
    for start, end in zip(stops, stops.roll(-1, dims=0), strict=True):
        for step in range(frames_per_pair):
            points = spherical(start, end, torch.full((paths,), step / frames_per_pair))
            made = render(generator.generator, points.expand(shown, -1), labels, batch_size=BATCH_SIZE)
            frames.append(image_grid(made, columns=min(FRAME_COLUMNS, shown), scale=scale))
    return frames


def _row_labels(generator: ImageGenerator, rows: int, columns: int) -> Tensor | None:
    if not generator.conditional:
        return None
    return balanced_labels(rows, generator.image.num_classes).repeat_interleave(columns)


def _band(images: Images, rows: int) -> Images:
    """Opaque grey rows to be put below images [N, H, W, C]."""
    band = np.full((len(images), rows, *images.shape[2:]), GAP_GREY, dtype=np.uint8)
    band[..., 3:] = 255
    return band


def _in_turn(order: NDArray[np.int64], labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the images in this order, of their classes in turn."""
    classes = [order[labels == label] for label in np.unique(labels)]
    return np.array(
        [classes[i % len(classes)][(i // len(classes)) % len(classes[i % len(classes)])] for i in range(count)]
    )
