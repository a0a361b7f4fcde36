"""The order of images against its definition, from any starting point."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ganlib.datasets.packed.order import BLOCK_TURNS, BalancedOrder, batch_indices

SEEDS = st.integers(0, 2**32 - 1)


def stream(seed: int, size: int, batches: list[int]) -> list[int]:
    indices: list[int] = []
    for batch_size in batches:
        indices += batch_indices(seed=seed, seen_images=len(indices), batch_size=batch_size, size=size).tolist()
    return indices


@given(seed=SEEDS, size=st.integers(1, 40), epochs=st.integers(1, 4))
def test_each_epoch_shows_every_image_once(seed: int, size: int, epochs: int) -> None:
    shown = np.array(stream(seed, size, [size * epochs])).reshape(epochs, size)
    assert (np.sort(shown, axis=1) == np.arange(size)).all()


@given(seed=SEEDS, size=st.integers(1, 40), batches=st.lists(st.integers(1, 90), min_size=1, max_size=8))
def test_batch_size_does_not_change_the_stream(seed: int, size: int, batches: list[int]) -> None:
    assert stream(seed, size, batches) == stream(seed, size, [sum(batches)])


@given(seed=SEEDS, size=st.integers(1, 40), start=st.integers(0, 10**12), batch_size=st.integers(1, 90))
def test_resuming_anywhere_needs_no_history(seed: int, size: int, start: int, batch_size: int) -> None:
    batch = batch_indices(seed=seed, seen_images=start, batch_size=batch_size, size=size)
    alone = [
        int(batch_indices(seed=seed, seen_images=start + offset, batch_size=1, size=size)[0])
        for offset in range(batch_size)
    ]
    assert batch.dtype == np.int64
    assert batch.tolist() == alone


def test_epochs_and_seeds_differ() -> None:
    first, second = np.array(stream(0, 100, [200])).reshape(2, 100)
    assert (first != second).any()
    assert stream(0, 100, [100]) != stream(1, 100, [100])


def test_callers_may_change_what_they_get() -> None:
    batch = batch_indices(seed=0, seen_images=0, batch_size=10, size=10)
    before = batch.copy()
    batch[:] = 0
    assert (batch_indices(seed=0, seen_images=0, batch_size=10, size=10) == before).all()


def labels_of(sizes: list[int]) -> NDArray[np.int64]:
    """Of images that lie in no order of their classes."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(seed=SEEDS, sizes=SIZES, rounds=st.integers(1, 20))
def test_balanced_order_shows_every_class_once_a_round_and_its_images_in_turn(
    seed: int, sizes: list[int], rounds: int
) -> None:
    labels = labels_of(sizes)
    shown = BalancedOrder(seed, labels).indices(0, rounds * len(sizes))
    assert (np.sort(labels[shown].reshape(rounds, -1), axis=1) == np.arange(len(sizes))).all()
    for label, size in enumerate(sizes):
        own = shown[labels[shown] == label]
        for start in range(0, len(own) - size + 1, size):
            assert len(set(own[start : start + size].tolist())) == size


# Far on, and about the end of the first block of turns that are drawn together.
STARTS = st.integers(0, 10**9) | st.integers(BLOCK_TURNS - 30, BLOCK_TURNS)


@given(seed=SEEDS, sizes=SIZES, start=STARTS, batch_size=st.integers(1, 30))
def test_balanced_order_needs_no_history(seed: int, sizes: list[int], start: int, batch_size: int) -> None:
    batch = BalancedOrder(seed, labels_of(sizes)).indices(start, batch_size)
    alone = [BalancedOrder(seed, labels_of(sizes)).indices(start + at, 1)[0] for at in range(batch_size)]
    assert batch.tolist() == alone


def test_balanced_orders_of_other_seeds_differ() -> None:
    first, second = (BalancedOrder(seed, labels_of([50, 5])).indices(0, 100).tolist() for seed in (0, 1))
    assert first != second
