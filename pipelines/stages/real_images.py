"""Real images laid out as the training lays out its samples."""

import numpy as np

from ganlib.datasets.packed.reading import PackedData
from ganlib.sampling import Images, image_grid
from ganlib.training.showing import GRID_COLUMNS, GRID_ROWS

LEAST_SIDE_PX = 32


def real_grid(data: PackedData, *, by_class: bool) -> Images:
    """The first training images, uint8 [H, W, C]; by class a column is one of the first classes."""
    labels, columns = data.train.labels, GRID_COLUMNS
    if by_class and labels is not None:
        columns = min(data.image.num_classes, GRID_COLUMNS)
        of_class = [np.flatnonzero(labels == label)[:GRID_ROWS] for label in range(columns)]
        rows = min(map(len, of_class))
        indices = np.stack([each[:rows] for each in of_class], axis=1).ravel()
    else:
        indices = np.arange(min(len(data.train), GRID_ROWS * columns))
    return image_grid(data.train.take(indices), columns=columns, scale=max(1, LEAST_SIDE_PX // data.image.size))
