"""Latents, labels, pixels, grids."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.sampling import GAP_GREY, balanced_labels, beside, image_grid, proportional_labels, seeded_latents, to_uint8


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_latents_of_a_longer_draw_begin_with_the_shorter(seed: int, count: int, more: int) -> None:
    assert torch.equal(seeded_latents(count + more, 5, seed)[:count], seeded_latents(count, 5, seed))


def test_latents_are_standard_normal() -> None:
    draws = seeded_latents(20_000, 8, 0)
    assert draws.dtype == torch.float32
    assert abs(float(draws.mean())) < 0.01
    assert abs(float(draws.std()) - 1) < 0.01


@given(st.integers(1, 50), st.integers(1, 12))
def test_balanced_labels_differ_by_at_most_one(count: int, classes: int) -> None:
    counts = torch.bincount(balanced_labels(count, classes), minlength=classes)
    assert int(counts.max() - counts.min()) <= 1


@given(st.integers(0, 200), st.lists(st.integers(0, 10**8), min_size=1, max_size=8).filter(any))
def test_proportional_labels_round_each_share_and_so_does_any_first_part(count: int, class_counts: list[int]) -> None:
    labels = proportional_labels(count, class_counts)
    shares = np.array(class_counts) / sum(class_counts)
    assert len(labels) == count
    assert np.abs(np.bincount(labels, minlength=len(shares)) - count * shares).max() < 1
    part = labels[: count // 2]
    assert np.abs(np.bincount(part, minlength=len(shares)) - len(part) * shares).max() < len(shares)
    assert torch.equal(
        proportional_labels(sum(class_counts) % 1000, np.array(class_counts) * 7),
        proportional_labels(sum(class_counts) % 1000, class_counts),
    )


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 5))
def test_proportional_labels_of_even_classes_take_turns(count: int, classes: int, images: int) -> None:
    assert torch.equal(proportional_labels(count, [images] * classes), balanced_labels(count, classes))


def test_pixels_round_and_clamp() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5)
    np.testing.assert_array_equal(to_uint8(values)[0, 0, :, 0], [0, 0, 128, 255, 255])
    every = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16) / 127.5 - 1
    np.testing.assert_array_equal(to_uint8(every).ravel(), np.arange(256))


def test_grid_puts_images_in_reading_order() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    grid = image_grid(images, columns=2, scale=2)
    assert grid.shape == ((3 * 3 - 1) * 2, (2 * 4 - 1) * 2, 1)
    np.testing.assert_array_equal(grid[::6, ::8, 0], [[0, 1], [2, 3], [4, GAP_GREY]])
    assert set(grid[4:6].ravel()) == {GAP_GREY}
    assert beside(grid, grid, gap=8).shape == (16, 36, 1)


def test_the_lines_of_a_grid_with_alpha_are_opaque() -> None:
    images = np.zeros((3, 2, 2, 4), np.uint8)
    grid = image_grid(images, columns=2)
    assert (grid[2] == (GAP_GREY, GAP_GREY, GAP_GREY, 255)).all()
    assert (grid[3:, 3:] == (GAP_GREY, GAP_GREY, GAP_GREY, 255)).all()
    assert (grid[:2, :2] == 0).all()
    assert (beside(grid, grid, gap=1)[:, 5] == 255).all()
