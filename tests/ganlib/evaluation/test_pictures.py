"""Each picture shows what it says, where it says."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ganlib.evaluation.copying import measure_copying
from ganlib.evaluation.pictures import (
    Layout,
    interpolation_frames,
    interpolation_strip,
    near_copies,
    truncation_strip,
)
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, seeded_latents
from tests.toy_evaluation import (
    LATENTS,
    SIZE,
    draw_of,
    image_generator,
    options_of,
    packed,
    real_images,
    reference_of,
)

STEP = SIZE + 1
GENERATOR, UNCONDITIONAL = image_generator(), image_generator(conditional=False)


def tile(picture: Images, top: int, column: int) -> Images:
    """The image that starts at this row of pixels."""
    return picture[top : top + SIZE, column * STEP : column * STEP + SIZE]


def at(picture: Images, row: int, column: int) -> Images:
    return tile(picture, row * STEP, column)


def test_near_copies_stand_above_their_training_images(tmp_path: Path) -> None:
    reference = reference_of(packed(real_images(300, 0), real_images(200, 1)), tmp_path)
    options = options_of(samples=200, near_copies=12)
    drawn = draw_of(GENERATOR, reference, options)
    found = measure_copying(drawn, reference, options)["pixels"]
    picture = near_copies(drawn, found, reference, count=11, columns=8, scale=1)
    assert picture.shape == (4 * SIZE + 2 + 4, 8 * STEP - 1, 1)
    for place, pair in enumerate(found.suspects[:11]):
        row, column = divmod(place, 8)
        top = row * (2 * SIZE + 1 + 4)
        made = drawn.images([pair.generated], batch_size=1)[0]
        known = reference.data.train.take(np.array([pair.training]))[0]
        np.testing.assert_array_equal(tile(picture, top, column), made)
        np.testing.assert_array_equal(tile(picture, top + STEP, column), known)
    enlarged = near_copies(drawn, found, reference, count=2, columns=8, scale=3)
    assert enlarged.shape == (3 * (2 * SIZE + 1), 3 * (2 * STEP - 1), 1)


def test_rows_of_truncation_are_the_same_latents() -> None:
    picture = truncation_strip(GENERATOR, [0.01, 0.5, 1.0], seed=4, columns=6, scale=1)
    assert picture.shape == (3 * STEP - 1, 6 * STEP - 1, 1)
    for row, psi in enumerate((0.01, 0.5, 1.0)):
        for column, expected in enumerate(GENERATOR.sample(seed=4, count=6, truncation=psi)):
            np.testing.assert_array_equal(at(picture, row, column), expected)
    # The same class three columns on: with hardly any latent all its images are its middle.
    assert (
        np.abs(at(picture, 0, 0).astype(int) - at(picture, 0, 3)).max()
        < 10
        < np.abs(at(picture, 2, 0).astype(int) - at(picture, 2, 3)).max()
    )


@pytest.mark.parametrize("generator", [GENERATOR, UNCONDITIONAL], ids=["conditional", "unconditional"])
def test_a_row_of_interpolation_leads_from_one_latent_to_another(generator: ImageGenerator) -> None:
    picture = interpolation_strip(generator, seed=4, rows=4, columns=9, scale=1)
    assert picture.shape == (4 * STEP - 1, 9 * STEP - 1, 1)
    ends = [0, 0, 1, 1, 2, 2, 0, 0]
    expected = generator.sample(seed=4, labels=ends) if generator.conditional else generator.sample(seed=4, count=8)
    for row in range(4):
        tiles = [at(picture, row, column).astype(int) for column in range(9)]
        np.testing.assert_allclose(tiles[0], expected[2 * row], atol=1)
        np.testing.assert_allclose(tiles[-1], expected[2 * row + 1], atol=1)
        jumps = [np.abs(one - other).mean() for one, other in pairwise(tiles)]
        assert max(jumps) < 0.3 * np.abs(tiles[0] - tiles[-1]).mean()
    assert not np.array_equal(picture, interpolation_strip(generator, seed=5, rows=4, columns=9, scale=1))


@pytest.mark.parametrize(
    ("generator", "shape"), [(GENERATOR, (SIZE, 3 * STEP - 1, 1)), (UNCONDITIONAL, (2 * STEP - 1, 5 * STEP - 1, 1))]
)
def test_the_animation_goes_round_without_a_jump(generator: ImageGenerator, shape: tuple[int, ...]) -> None:
    frames = interpolation_frames(generator, seed=2, images=3, frames_per_pair=16, shown=10, scale=1)
    again = interpolation_frames(generator, seed=2, images=3, frames_per_pair=16, shown=10, scale=1)
    assert len(frames) == 48
    assert {frame.shape for frame in frames} == {shape}
    assert all(np.array_equal(one, other) for one, other in zip(frames, again, strict=True))
    looped = [frame.astype(int) for frame in [*frames, frames[0]]]
    steps = np.array([np.abs(one - other).mean() for one, other in pairwise(looped)])
    assert steps.min() > 0
    assert steps.max() < 4 * np.median(steps)
    latents = seeded_latents(3 if generator.conditional else 30, LATENTS, 2)
    first = generator.generator(latents[:1], None if not generator.conditional else latents.new_zeros(1).long())
    np.testing.assert_allclose(at(frames[0], 0, 0)[..., 0], first[0, 0].clamp(-1, 1) * 127.5 + 127.5, atol=1)


@pytest.mark.parametrize(
    ("size", "conditional", "expected"),
    [
        (8, True, Layout(rows=10, columns=3, strip=10, moving=10, scale=4)),
        (8, False, Layout(rows=10, columns=10, strip=10, moving=10, scale=4)),
        (64, True, Layout(rows=10, columns=3, strip=10, moving=10, scale=1)),
        (256, False, Layout(rows=5, columns=5, strip=5, moving=2, scale=1)),
        (1024, False, Layout(rows=2, columns=2, strip=2, moving=2, scale=1)),
    ],
)
def test_large_images_are_shown_in_smaller_numbers(size: int, conditional: bool, expected: Layout) -> None:
    assert Layout.of(image_generator(conditional=conditional, size=size)) == expected
