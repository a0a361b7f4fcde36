"""Near duplicates against all pairs compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.datasets.packing.duplicates import near_pairs


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), most_bits=st.integers(0, 15))
def test_all_pairs_and_each_once(seed: int, count: int, most_bits: int) -> None:
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, (max(1, count // 6), 256), dtype=np.uint8)[
        random.integers(0, max(1, count // 6), count)
    ]
    for row in bits:
        row[random.choice(256, random.integers(0, 14), replace=False)] ^= 1
    hashes = np.packbits(bits, axis=1)
    expected = sorted(
        (i, j, int((bits[i] != bits[j]).sum()))
        for i in range(count)
        for j in range(i + 1, count)
        if (bits[i] != bits[j]).sum() <= most_bits
    )
    assert sorted(near_pairs(hashes, most_bits)) == expected


@pytest.mark.parametrize("most_bits", [0, 4, 15])
def test_a_flat_corner_shared_by_all_costs_nothing(most_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of each hash is zero, as with figures on black; compared are only candidates."""
    hashes = np.random.default_rng(0).integers(0, 256, (3000, 32), dtype=np.uint8)
    hashes[:, :16] = 0
    compared = 0
    count = np.bitwise_count

    def counted(words: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += words.shape[0] * words.shape[1]
        return count(words)

    monkeypatch.setattr(np, "bitwise_count", counted)
    assert list(near_pairs(hashes, most_bits)) == []
    assert compared < 0.02 * 3000**2 * (most_bits + 1)
