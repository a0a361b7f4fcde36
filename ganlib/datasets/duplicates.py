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
    bits = np.unpackbits(hashes, axis=1)
    bands = most_bits + 1
    for band in range(bands):
        agreeing = _keys(bits, band, bands)
        order = np.argsort(agreeing, kind="stable")
        starts = np.flatnonzero(np.r_[True, agreeing[order][1:] != agreeing[order][:-1]])
        ends = np.r_[starts[1:], len(order)]
        for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
            rows = order[start:end]
            for first, second, differing in _pairs_within(hashes, rows, most_bits):
                if not _agreed_before(bits, first, second, band, bands):
                    yield first, second, differing


def _keys(bits: NDArray[np.uint8], band: int, bands: int) -> NDArray[np.void]:
    packed = np.ascontiguousarray(np.packbits(bits[:, band::bands], axis=1))
    return packed.view(np.dtype((np.void, packed.shape[1]))).ravel()


def _pairs_within(hashes: NDArray[np.uint8], rows: NDArray[np.intp], most_bits: int) -> Iterator[tuple[int, int, int]]:
    words = hashes[rows].view(np.uint64)
    step = max(1, _PAIRS // len(rows))
    for at in range(0, len(rows), step):
        differing = np.bitwise_count(words[at : at + step, None] ^ words[None]).sum(axis=2, dtype=np.int64)
        for one, other in np.argwhere(differing <= most_bits).tolist():
            if at + one < other:
                first, second = sorted((int(rows[at + one]), int(rows[other])))
                yield first, second, int(differing[one, other])


def _agreed_before(bits: NDArray[np.uint8], first: int, second: int, band: int, bands: int) -> bool:
    differing = np.flatnonzero(bits[first] != bits[second]) % bands
    return len(set(range(band)) - set(differing.tolist())) > 0
