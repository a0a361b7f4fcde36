"""The endless order in which images are shown, as a pure function of the clock."""

from collections.abc import Sequence
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
    return _permuted(size, seed, epoch)


class BalancedOrder:
    """An endless order that shows every class equally often, however many images it has.

    It goes in rounds, in which each class has one turn, in a seeded order. At
    its n-th turn a class shows the n-th image of its own endless stream, which
    is as in `batch_indices`. So position i is a function of (seed, i) alone.
    """

    def __init__(self, seed: int, members: Sequence[NDArray[np.int64]]) -> None:
        """`members` are the indices of each class's images; no class is empty."""
        assert members
        assert all(len(each) > 0 for each in members)
        self._seed, self._members = seed, members
        # The permutations in use, of the classes (last) and of each one's images.
        self._current: list[tuple[int, NDArray[np.int64]] | None] = [None] * (len(members) + 1)

    def indices(self, seen_images: int, batch_size: int) -> NDArray[np.int64]:
        """Indices of the next batch, int64 [batch_size], after `seen_images`."""
        return np.array([self._at(position) for position in range(seen_images, seen_images + batch_size)], np.int64)

    def _at(self, position: int) -> int:
        turn, place = divmod(position, len(self._members))
        label = int(self._shuffled(len(self._members), turn, len(self._members))[place])
        members = self._members[label]
        epoch, offset = divmod(turn, len(members))
        return int(members[self._shuffled(label, epoch, len(members))[offset]])

    def _shuffled(self, stream: int, epoch: int, size: int) -> NDArray[np.int64]:
        current = self._current[stream]
        if current is None or current[0] != epoch:
            current = self._current[stream] = epoch, _permuted(size, self._seed, epoch, stream)
        return current[1]


def _permuted(size: int, *seed: int) -> NDArray[np.int64]:
    permutation = np.random.default_rng(seed).permutation(size)
    permutation.setflags(write=False)
    return permutation
