"""Pictures that look the same: pairs of difference hashes that differ in few bits."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 256
# Pairs compared at once: 32 bytes each, and the result.
_PAIRS = 1 << 20


def near_pairs(hashes: NDArray[np.uint8], most_bits: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of rows that differ in at most `most_bits` bits, each pair once.

    Of `most_bits` + 1 bands of bits, such a pair agrees in one at least (the
    pigeonhole principle), so only rows that agree in a whole band are compared.
    Bit i is in band i modulo their number: a flat corner of many images does
    not make a band that they all share.

    Args:
        hashes: uint8 [N, 32].
        most_bits: 0 to 15.

    Yields:
        (earlier row, later row, differing bits), band by band.
    """
    bands = most_bits + 1
    masks = np.packbits(np.arange(HASH_BITS) % bands == np.arange(bands)[:, None], axis=1)
    for band, mask in enumerate(masks):
        agreeing = np.ascontiguousarray(hashes & mask).view(np.dtype((np.void, hashes.shape[1]))).ravel()
        order = np.argsort(agreeing, kind="stable")
        ascending = agreeing[order]
        bounds = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1], True])
        for at in np.flatnonzero(np.diff(bounds) > 1):
            rows = order[bounds[at] : bounds[at + 1]]
            for first, second, differing in _pairs_within(hashes, rows, most_bits):
                difference = hashes[first] ^ hashes[second]
                if (difference & masks[:band]).any(axis=1).all():  # else an earlier band found it
                    yield first, second, differing


def _pairs_within(hashes: NDArray[np.uint8], rows: NDArray[np.intp], most_bits: int) -> Iterator[tuple[int, int, int]]:
    words = hashes[rows].view(np.uint64)
    step = max(1, _PAIRS // len(rows))
    for at in range(0, len(rows), step):
        differing = np.bitwise_count(words[at : at + step, None] ^ words[None]).sum(axis=2, dtype=np.int64)
        for one, other in np.argwhere(differing <= most_bits).tolist():
            if at + one < other:
                first, second = sorted((int(rows[at + one]), int(rows[other])))
                yield first, second, int(differing[one, other])
