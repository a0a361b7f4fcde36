"""Which images of a split are of the kinds that a translator knows: 0, what it makes, and 1, what it is given."""

import numpy as np
from numpy.typing import NDArray

from ganlib.config import ClassesOptions, ImageSpec, InputsOptions, kinds_of
from ganlib.datasets.packed.reading import Split
from ganlib.errors import UserError


def of_kind(split: Split, image: ImageSpec, inputs: InputsOptions, kind: int) -> Split:
    """The images of a kind, or that the kind is made from: those of a class, else the whole split.

    Raises:
        UserError: the split has no such images.
    """
    return split.part(_rows_of_class(split, image, inputs, kind)) if isinstance(inputs, ClassesOptions) else split


def apart(split: Split, image: ImageSpec, inputs: InputsOptions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of a split that a translator without pairs learns each kind from; none is of both.

    Where one kind is made from the other, images take turns: half of them are never seen as they are.

    Raises:
        UserError: there are no such images.
    """
    if isinstance(inputs, ClassesOptions):
        return _rows_of_class(split, image, inputs, 0), _rows_of_class(split, image, inputs, 1)
    if len(split) < 2:
        raise UserError(f"data.inputs: found {len(split)} {split.name} images, expected 2 at least, one of each kind")
    return np.arange(0, len(split), 2), np.arange(1, len(split), 2)


def _rows_of_class(split: Split, image: ImageSpec, inputs: ClassesOptions, kind: int) -> NDArray[np.int64]:
    name, parameter = kinds_of(inputs)[kind], ("output", "input")[kind]
    if split.labels is None or name not in image.classes:
        found = ", ".join(image.classes[:10]) or "no labels"
        raise UserError(f"data.inputs.{parameter}={name}: no such class in data.source, found {found}")
    rows = np.flatnonzero(split.labels == image.classes.index(name))
    if not len(rows):
        raise UserError(f"data.inputs.{parameter}={name}: the {split.name} split has no image of this class")
    return rows
