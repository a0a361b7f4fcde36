"""The endless order in which images are shown, as a pure function of the clock."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def batch_indices(*, seed: int, seen_images: int, batch_size: int, size: int) -> NDArray[np.int64]:
    """Indices of the next batch, int64 [batch_size] in [0, size), after `seen_images`.

    Position i of the endless stream is entry i % size of the permutation that
    belongs to (seed, epoch i // size). So each epoch shows every image once, a
    batch may span epochs, and neither the batch size nor the point of resuming
    changes the stream.
    """
    assert size > 0
    assert batch_size > 0
    assert seen_images >= 0
    pieces = []
    position, end = seen_images, seen_images + batch_size
    while position < end:
        epoch, offset = divmod(position, size)
        piece = _permutation(seed, epoch, size)[offset : offset + end - position]
        pieces.append(piece)
        position += len(piece)
    return np.concatenate(pieces)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    permutation = np.random.default_rng((seed, epoch)).permutation(size)
    permutation.setflags(write=False)
    return permutation
