"""What a training shows of the averaged generator, and what of it is scored: always at the same seeds."""

from collections.abc import Callable, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganlib.networks import CycleGenerator, Generator, StarGenerator
from ganlib.sampling import (
    Images,
    balanced_labels,
    from_uint8,
    image_grid,
    proportional_labels,
    render,
    seeded_latents,
    to_uint8,
)
from ganlib.training.alarms import diversity
from ganlib.training.recipe import Recipe

GRID_ROWS, GRID_COLUMNS = 8, 10
RENDER_BATCH_SIZE = 250


@dataclass(frozen=True)
class Examples:
    """Images that a translator is shown and scored by.

    Attributes:
        given: it does not learn from these; on the CPU, [N, C, H, W].
        wanted: uint8 [M, H, W, C]; of the same places where there are pairs.
    """

    given: Tensor
    wanted: Images


@dataclass(frozen=True)
class Measure:
    """How a snapshot is judged.

    Attributes:
        metric: what the score is called.
        score: of uint8 images [N, H, W, C], lower is better.
        class_counts: images of each class that they are compared with, [K]: a conditional generator is asked for these
            shares.
        examples: of a translator; none for others.
    """

    metric: str
    score: Callable[[Images], float]
    class_counts: tuple[int, ...]
    examples: Examples | None = None


def show(generator: Generator, recipe: Recipe, measure: Measure) -> tuple[Images, float]:
    """A picture of fixed samples, and how different those are that were asked for the same: see `diversity`.

    Of a translator each column is an example: what it is given, what is wanted, and below these what it makes with
    several latents. Of two translators: an image of either kind, what is made of it, and what comes back. Of
    styles: an example, and it in each style. Else a column is a class, of the first classes, where there are any.
    """
    if recipe.inputs is None:
        columns = min(recipe.image.num_classes, GRID_COLUMNS) if recipe.network.conditional else GRID_COLUMNS
        labels = balanced_labels(GRID_ROWS * columns, columns)
        made = _draw(generator, recipe, labels if recipe.network.conditional else None, len(labels))
        groups = labels.numpy() if recipe.network.conditional else None
        return image_grid(made, columns=columns, scale=_scale(recipe)), diversity(made, groups)
    examples = measure.examples
    assert examples is not None
    columns = min(len(examples.given), len(examples.wanted), GRID_COLUMNS)
    given, wanted = examples.given[_spread(examples.given, columns)], examples.wanted[_spread(examples.wanted, columns)]
    if isinstance(generator, StarGenerator):
        styles = [_draw(generator.way(style), recipe, given, columns) for style in range(generator.num_ways)]
        picture = image_grid(np.concatenate([to_uint8(given), *styles]), columns=columns, scale=_scale(recipe))
        return picture, diversity(styles[0], None)
    if isinstance(generator, CycleGenerator):
        there = _there_and_back(generator, recipe, given, 0)
        back = _there_and_back(generator, recipe, from_uint8(wanted), 1)
        picture = image_grid(np.concatenate([there, back]), columns=columns, scale=_scale(recipe))
        return picture, diversity(there[columns : 2 * columns], None)
    rows = GRID_ROWS - 2
    made = _draw(generator, recipe, given.repeat(rows, 1, 1, 1), rows * columns)
    picture = image_grid(np.concatenate([to_uint8(given), wanted, made]), columns=columns, scale=_scale(recipe))
    return picture, diversity(made, np.tile(np.arange(columns), rows))


def scored_images(generator: Generator, recipe: Recipe, measure: Measure) -> Images:
    """The images that the score is of."""
    count = recipe.options.measure_samples
    if recipe.inputs is None:
        labels = proportional_labels(count, measure.class_counts) if recipe.network.conditional else None
        return _draw(generator, recipe, labels, count)
    assert measure.examples is not None
    given = measure.examples.given[:count]
    return _draw(generator, recipe, given, len(given))


def _there_and_back(generator: CycleGenerator, recipe: Recipe, given: Tensor, way: int) -> Images:
    """Images [N, C, H, W], what one way makes of them, and what the other makes of that: uint8 [3 N, H, W, C]."""
    made = _draw(generator.way(way), recipe, given, len(given))
    back = _draw(generator.way(1 - way), recipe, from_uint8(made), len(given))
    return np.concatenate([to_uint8(given), made, back])


def _draw(generator: Generator, recipe: Recipe, condition: Tensor | None, count: int) -> Images:
    latents = seeded_latents(count, generator.latent_dim, recipe.options.seed)
    return render(generator, latents, condition, batch_size=RENDER_BATCH_SIZE)


def _spread(images: Sized, count: int) -> NDArray[np.int64]:
    """So many of the images, from all parts."""
    return np.linspace(0, len(images) - 1, count).astype(np.int64)


def _scale(recipe: Recipe) -> int:
    return max(1, 32 // recipe.image.size)
