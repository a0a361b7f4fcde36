"""The endless order in which images are shown, as a pure function of the clock."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK_TURNS = 4096  # of the balanced order, that are drawn at once


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
    return _entries(seen_images, batch_size, size, lambda epoch: _permutation(seed, epoch, size))


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    permutation = np.random.default_rng((seed, epoch)).permutation(size)
    permutation.setflags(write=False)
    return permutation


class BalancedOrder:
    """An endless order that shows every class equally often, however many images it has.

    It goes in rounds, in which each class has one turn, in a seeded order. At
    its n-th turn a class shows the n-th image of its own endless stream, which
    is as in `batch_indices`. So position i is a function of (seed, i) alone.
    """

    def __init__(self, seed: int, labels: NDArray[np.int64]) -> None:
        """`labels` are the classes of all images, [N]."""
        assert len(labels) > 0
        _, self._sizes = np.unique(labels, return_counts=True)
        self._seed = seed
        self._ends = np.cumsum(self._sizes)
        self._members = np.argsort(labels, kind="stable")  # class after class
        # The permutation of each class that is in use, and the epoch that it belongs to.
        self._shuffled = self._members.copy()
        self._epochs = np.full(len(self._sizes), -1)

    def indices(self, seen_images: int, batch_size: int) -> NDArray[np.int64]:
        """Indices of the next batch, int64 [batch_size], after `seen_images`."""
        classes = len(self._sizes)
        rounds = max(1, BLOCK_TURNS // classes)
        turns = np.arange(seen_images, seen_images + batch_size) // classes
        labels = _entries(seen_images, batch_size, rounds * classes, lambda n: _rounds(self._seed, n, rounds, classes))
        epochs, offsets = np.divmod(turns, self._sizes[labels])
        places = self._ends[labels] - self._sizes[labels] + offsets
        images = np.empty(batch_size, np.int64)
        left = np.arange(batch_size)
        while len(left) > 0:  # once more for each epoch of a class that begins within the batch
            self._shuffle(labels[left], epochs[left])
            ready = self._epochs[labels[left]] == epochs[left]
            images[left[ready]] = self._shuffled[places[left[ready]]]
            left = left[~ready]
        return images

    def _shuffle(self, labels: NDArray[np.int64], epochs: NDArray[np.int64]) -> None:
        """Bring each class to the first of the epochs that it is wanted in."""
        wanted, first = np.unique(labels, return_index=True)
        stale = self._epochs[wanted] != epochs[first]
        for label, epoch in zip(wanted[stale].tolist(), epochs[first[stale]].tolist(), strict=True):
            own = slice(self._ends[label] - self._sizes[label], self._ends[label])
            self._shuffled[own] = np.random.default_rng((self._seed, epoch, label)).permutation(self._members[own])
            self._epochs[label] = epoch


@lru_cache(maxsize=4)
def _rounds(seed: int, block: int, rounds: int, classes: int) -> NDArray[np.int64]:
    """The classes of one block of rounds, int64 [rounds * classes]: one generator for many rounds, as it takes long."""
    generator = np.random.default_rng((seed, block, classes))
    return generator.permuted(np.tile(np.arange(classes), (rounds, 1)), axis=1).reshape(-1)


def _entries(start: int, count: int, block_size: int, block: Callable[[int], NDArray[np.int64]]) -> NDArray[np.int64]:
    """`count` entries from `start` on of the stream that the blocks, of `block_size` entries each, make."""
    pieces = []
    position, end = start, start + count
    while position < end:
        index, offset = divmod(position, block_size)
        piece = block(index)[offset : offset + end - position]
        pieces.append(piece)
        position += len(piece)
    return np.concatenate(pieces)
