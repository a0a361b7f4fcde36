"""Which images of a split are of the kinds that a translator knows: 0, what it makes first, and what it is given."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ganlib.config import ImageSpec, InputsOptions, classes_of, kinds_of, measure_misfits
from ganlib.datasets.packed.reading import Split
from ganlib.errors import UserError


def made_part(split: Split, image: ImageSpec, inputs: InputsOptions) -> Split:
    """The images that are like what a translator makes first: those of a class, else the whole split.

    Raises:
        UserError: the split has no such images.
    """
    rows = list(_rows_of_classes(split, image, inputs))
    return split.part(rows[0]) if rows else split


def given_part(split: Split, image: ImageSpec, inputs: InputsOptions) -> Split:
    """The images that a translator is given to make the others of, or that what it is given is made from.

    Raises:
        UserError: the split has no such images.
    """
    return split.part(_given_rows(split, image, inputs)) if classes_of(inputs) else split


def held_back(split: Split, image: ImageSpec, inputs: InputsOptions, count: int) -> tuple[Split, Split]:
    """What a translator learns from, and `count` of the images that it could be given, from all parts, to score it on.

    Raises:
        UserError: that would be more than half of the images that it could be given.
    """
    given = _given_rows(split, image, inputs)
    lines = list(measure_misfits(count, len(given)))
    if lines:
        raise UserError(lines[0])
    chosen = given[np.linspace(0, len(given) - 1, count).astype(np.int64)]
    return split.part(np.setdiff1d(np.arange(len(split)), chosen)), split.part(chosen)


def apart(split: Split, image: ImageSpec, inputs: InputsOptions) -> Sequence[NDArray[np.int64]]:
    """The rows of a split that a translator without pairs learns each kind from; none is of two kinds.

    Where kinds are made from the images, these take turns: each is seen in one way only.

    Raises:
        UserError: there are no such images.
    """
    rows, kinds = list(_rows_of_classes(split, image, inputs)), len(kinds_of(inputs))
    if rows:
        return rows
    if len(split) < kinds:
        raise UserError(
            f"data.inputs: found {len(split)} {split.name} images, expected {kinds} at least, one of each kind"
        )
    return [np.arange(kind, len(split), kinds) for kind in range(kinds)]


def _given_rows(split: Split, image: ImageSpec, inputs: InputsOptions) -> NDArray[np.int64]:
    rows = list(_rows_of_classes(split, image, inputs))
    return np.sort(np.concatenate(rows[1:])) if rows else np.arange(len(split))


def _rows_of_classes(split: Split, image: ImageSpec, inputs: InputsOptions) -> Iterator[NDArray[np.int64]]:
    """Of each class that is a kind; nothing where kinds are made from the images."""
    for parameter, name in classes_of(inputs).items():
        if split.labels is None or name not in image.classes:
            found = ", ".join(image.classes[:10]) or "no labels"
            raise UserError(f"{parameter}={name}: no such class in data.source, found {found}")
        rows = np.flatnonzero(split.labels == image.classes.index(name))
        if not len(rows):
            raise UserError(f"{parameter}={name}: the {split.name} split has no image of this class")
        yield rows
