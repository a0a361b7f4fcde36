"""Pictures of an evaluation: uint8 [H, W, C]."""

from typing import Any

import numpy as np

from ganlib.datasets.packed import PackedData, Split
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, beside, image_grid


def sample_grid(generator: ImageGenerator, *, seed: int, rows: int, columns: int, scale: int) -> Images:
    """A grid of samples; with as many columns as classes, a column a class."""
    return image_grid(generator.sample(seed=seed, count=rows * columns), columns=columns, scale=scale)


def real_beside_generated(
    generator: ImageGenerator, data: PackedData, *, seed: int, rows: int, columns: int, scale: int
) -> Images:
    """Held-out real images on the left, generated ones on the right, of the same classes at the same places."""
    chosen = _indices_by_class(data.test, rows * columns, seed)
    labels = None if data.test.labels is None else data.test.labels[chosen].tolist()
    if generator.conditional:
        generated = generator.sample(seed=seed, labels=labels)
    else:
        generated = generator.sample(seed=seed, count=len(chosen))
    left, right = (image_grid(i, columns=columns, scale=scale) for i in (data.test.take(chosen), generated))
    return beside(left, right, gap=4 * scale)


def _indices_by_class(split: Split, count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    order = np.random.default_rng(seed).permutation(len(split))
    if split.labels is None:
        return np.resize(order, count)
    classes = [order[split.labels[order] == label] for label in np.unique(split.labels)]
    return np.array(
        [classes[i % len(classes)][(i // len(classes)) % len(classes[i % len(classes)])] for i in range(count)]
    )
