"""Planted copies are found in features and in pixels, and honest generators are not accused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.errors import UserError
from ganlib.evaluation.copying import _small, measure_copying
from ganlib.evaluation.drawing import Reference
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, to_uint8
from tests.toy_evaluation import (
    CLASSES,
    LATENTS,
    REACH,
    SIZE,
    draw_of,
    image_generator,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

TRAIN, TEST = real_images(1000, 10), real_images(800, 11)


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    return reference_of(packed(TRAIN, TEST), tmp_path)


def copier(training: Images, *, share: float, noise: float = 0.0) -> ImageGenerator:
    """Gives a training image, with some noise, where the first latent is high."""
    pictures = torch.from_numpy(training).flatten(1).float() / 127.5 - 1
    limit = torch.distributions.Normal(0, 1).icdf(torch.tensor(1 - share))

    def painter(latents: Tensor, labels: Tensor) -> Tensor:
        chosen = (latents[:, 1].abs() * 1e4).long() % len(pictures)
        copies = pictures[chosen] + noise * torch.sin(1e3 * latents[:, 2:3] * torch.arange(1, 65))
        return torch.where(latents[:, :1] > limit, copies, paint(latents, labels))

    return image_generator(painter)


def test_one_percent_of_copies_is_found_in_both_spaces(reference: Reference) -> None:
    drawn = draw_of(copier(TRAIN[0], share=0.01), reference, options_of(near_copies=6))
    found = measure_copying(drawn, reference, options_of(near_copies=6))
    assert set(found) == {"features", "pixels"}
    for space in found.values():
        assert space.p_value < 0.01
        assert space.share.low > 0
        assert space.share.estimate == pytest.approx(0.01, abs=0.005)
        made = drawn.images([pair.generated for pair in space.suspects], batch_size=100)
        copied = reference.data.train.take(np.array([pair.training for pair in space.suspects]))
        np.testing.assert_array_equal(made, copied)
        assert {(pair.distance, pair.ratio) for pair in space.suspects} == {(0.0, 0.0)}


def test_an_honest_generator_is_not_accused_and_batches_change_nothing(reference: Reference) -> None:
    options = options_of(samples=2000)
    drawn = draw_of(image_generator(), reference, options)
    found = measure_copying(drawn, reference, options)
    for space in found.values():
        assert space.p_value > 0.05
        assert space.share.low <= 0
        assert abs(space.copying) < 3
    assert measure_copying(drawn, reference, options.model_copy(update={"batch_size": 77})) == found


def test_copies_in_a_training_set_hide_nothing(tmp_path: Path) -> None:
    """Three copies of each training image are equally far from a noisy fourth, which alone would look like no copy."""
    tripled = (TRAIN[0].repeat(3, axis=0), TRAIN[1].repeat(3))
    reference = reference_of(packed(tripled, TEST), tmp_path)
    drawn = draw_of(copier(TRAIN[0], share=0.02, noise=0.02), reference, options_of())
    found = measure_copying(drawn, reference, options_of())
    for space in found.values():
        assert space.p_value < 0.01
        assert all(0 < pair.ratio < 0.3 for pair in space.suspects)
        assert all(pair.training % 3 == 0 for pair in space.suspects)
    for pair in found["pixels"].suspects:
        made = drawn.images([pair.generated], batch_size=1)[0].astype(float)
        copied = reference.data.train.take(np.array([pair.training]))[0]
        assert pair.distance == pytest.approx(np.linalg.norm(made - copied))


def test_held_out_images_that_are_in_the_training_set_do_not_count(tmp_path: Path, reference: Reference) -> None:
    """With them as the measure of what is close by chance, copies would be nothing unusual."""
    mixed = (np.concatenate([TEST[0], TRAIN[0][:200]]), np.concatenate([TEST[1], TRAIN[1][:200]]))
    overlapping = reference_of(packed(TRAIN, mixed), tmp_path / "overlapping")
    generator = copier(TRAIN[0], share=0.01)
    drawn = draw_of(generator, reference, options_of())
    clean, seen = (measure_copying(drawn, each, options_of()) for each in (reference, overlapping))
    assert clean == seen


def test_frames_of_videos_on_both_sides_are_no_measure_of_copies(tmp_path: Path) -> None:
    """Twelve scenes that move by a few grey levels: nearly all frames have near duplicates on the other side."""
    draw = np.random.default_rng(0)
    moved = REACH * 0.01 * np.arange(50)[None, :, None] * draw.normal(size=(12, 1, LATENTS))
    latents = torch.from_numpy((draw.normal(size=(12, 1, LATENTS)) + moved).reshape(-1, LATENTS)).float()
    scenes = np.repeat(np.arange(12) % len(CLASSES), 50)
    frames = to_uint8(paint(latents, torch.from_numpy(scenes)).view(-1, 1, SIZE, SIZE))
    held_out = draw.random(600) < 0.3
    sides = (frames[~held_out], scenes[~held_out]), (frames[held_out], scenes[held_out])
    reference = reference_of(packed(*sides), tmp_path)
    drawn = draw_of(copier(sides[0][0], share=1.0, noise=0.004), reference, options_of())
    for space in measure_copying(drawn, reference, options_of()).values():
        assert space.near_duplicates > 0.9 * space.held_out
        assert space.blind is not None
        assert space.blind.startswith(f"{space.near_duplicates} of {space.held_out} held-out images have a near dup")


@pytest.mark.parametrize("levels", [0.5, 2])
def test_copies_of_distinct_images_are_told(reference: Reference, levels: float) -> None:
    drawn = draw_of(copier(TRAIN[0], share=1.0, noise=levels / 90), reference, options_of())
    for space in measure_copying(drawn, reference, options_of()).values():
        assert space.blind is None
        assert space.share.estimate > 0.95


def test_a_few_look_alikes_do_not_hide_copies(tmp_path: Path) -> None:
    """One held-out image in twenty differs from a training image by a grey level, as in many a public data set."""
    alike = np.concatenate([TEST[0][:760], np.clip(TRAIN[0][:40], 1, None) - 1]), np.r_[TEST[1][:760], TRAIN[1][:40]]
    reference = reference_of(packed(TRAIN, alike), tmp_path)
    drawn = draw_of(copier(TRAIN[0], share=0.5, noise=0.5 / 90), reference, options_of())
    for space in measure_copying(drawn, reference, options_of()).values():
        assert 40 <= space.near_duplicates < 50
        assert space.blind is None
        assert space.p_value < 0.001
        assert space.share.estimate == pytest.approx(0.45, abs=0.05)


def test_large_images_are_averaged_over_areas_and_their_copies_found(tmp_path: Path) -> None:
    def enlarged(side: tuple[Images, np.ndarray]) -> tuple[Images, np.ndarray]:
        return side[0][:400].repeat(8, axis=1).repeat(8, axis=2), side[1][:400]

    reference = reference_of(packed(enlarged(TRAIN), enlarged(TEST)), tmp_path)
    small = copier(TRAIN[0][:400], share=0.02).generator

    def painter(latents: Tensor, labels: Tensor) -> Tensor:
        return small(latents, labels).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3).flatten(1)

    options = options_of(samples=400)
    found = measure_copying(draw_of(image_generator(painter, size=64), reference, options), reference, options)[
        "pixels"
    ]
    assert found.p_value < 0.01
    assert found.suspects[0].distance == 0


@pytest.mark.parametrize(("size", "small"), [(64, 32), (32, 32), (28, 28), (50, 32)])
def test_areas(size: int, small: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    found = _small(images)
    assert found.shape == (3, small, small, 3)
    assert found.dtype == torch.uint8
    if size % small == 0:
        step = size // small
        mean = images.reshape(3, small, step, small, step, 3).mean(axis=(2, 4))
        assert np.abs(found.numpy() - mean).max() <= 0.5


def test_too_few_images_are_one_line(tmp_path: Path) -> None:
    reference = reference_of(packed(TRAIN, (TEST[0][:60], TEST[1][:60])), tmp_path)
    with pytest.raises(UserError, match=r"needs at least 100 held-out images, found 60"):
        measure_copying(draw_of(image_generator(), reference, options_of()), reference, options_of())
