"""What a training shows of the averaged generator, and what of it is scored: always at the same seeds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ganlib.degradations import degraded_rows
from ganlib.networks import Generator
from ganlib.sampling import (
    Images,
    balanced_labels,
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
class Measure:
    """How a snapshot is judged.

    Attributes:
        metric: what the score is called.
        score: of uint8 images [N, H, W, C], lower is better.
        class_counts: images of each class that they are compared with, [K]: a conditional generator is asked for these
            shares.
        examples: training images, uint8 [N, H, W, C], that a translator is shown and scored by; none for others.
    """

    metric: str
    score: Callable[[Images], float]
    class_counts: tuple[int, ...]
    examples: Images | None = None


def show(generator: Generator, recipe: Recipe, measure: Measure) -> tuple[Images, float]:
    """A picture of fixed samples, and how different those are that were asked for the same: see `diversity`.

    Of a translator each column is an example: what it is given, what is wanted, and below these what it makes with
    several latents. Else a column is a class, of the first classes, where there are any.
    """
    if recipe.inputs is None:
        columns = min(recipe.image.num_classes, GRID_COLUMNS) if recipe.conditional else GRID_COLUMNS
        labels = balanced_labels(GRID_ROWS * columns, columns)
        made = _draw(generator, recipe, labels if recipe.conditional else None, len(labels))
        groups = labels.numpy() if recipe.conditional else None
        return image_grid(made, columns=columns, scale=_scale(recipe)), diversity(made, groups)
    assert measure.examples is not None
    count = len(measure.examples)
    wanted = measure.examples[np.linspace(0, count - 1, min(count, GRID_COLUMNS)).astype(np.int64)]
    given = _inputs(recipe, wanted)
    rows, columns = GRID_ROWS - 2, len(wanted)
    made = _draw(generator, recipe, given.repeat(rows, 1, 1, 1), rows * columns)
    picture = image_grid(np.concatenate([to_uint8(given), wanted, made]), columns=columns, scale=_scale(recipe))
    return picture, diversity(made, np.tile(np.arange(columns), rows))


def scored_images(generator: Generator, recipe: Recipe, measure: Measure) -> Images:
    """The images that the score is of."""
    count = recipe.options.measure_samples
    if recipe.inputs is None:
        labels = proportional_labels(count, measure.class_counts) if recipe.conditional else None
        return _draw(generator, recipe, labels, count)
    assert measure.examples is not None
    wanted = measure.examples[:count]
    return _draw(generator, recipe, _inputs(recipe, wanted), len(wanted))


def _draw(generator: Generator, recipe: Recipe, condition: Tensor | None, count: int) -> Images:
    latents = seeded_latents(count, generator.latent_dim, recipe.options.seed)
    return render(generator, latents, condition, batch_size=RENDER_BATCH_SIZE)


def _inputs(recipe: Recipe, examples: Images) -> Tensor:
    """What a translator is given of examples, [N, C, H, W], on the CPU."""
    assert recipe.inputs is not None
    return degraded_rows(examples, np.arange(len(examples)), recipe.inputs, seed=recipe.options.seed)


def _scale(recipe: Recipe) -> int:
    return max(1, 32 // recipe.image.size)
