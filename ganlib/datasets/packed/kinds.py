"""Which images of a split are of the kinds that a translator knows: 0, what it makes first, and what it is given."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ganlib.config import ImageSpec, InputsOptions, classes_of, kinds_of
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
    rows = list(_rows_of_classes(split, image, inputs))
    return split.part(np.sort(np.concatenate(rows[1:]))) if rows else split


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
