"""What a generator has learned by heart it reconstructs better; what it knows alike it reconstructs alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.errors import UserError
from ganlib.evaluation.drawing import Reference
from ganlib.evaluation.reconstruction import measure_reconstruction
from ganlib.metrics.reconstruction import HIGHEST_PSNR
from ganlib.sampling import Images, to_uint8
from tests.evaluations import evaluation
from tests.toy_evaluation import CLASSES, LATENTS, draw_of, image_generator, options_of, packed, paint, reference_of

SIZE = 16  # which holds SSIM's window


def enlarged(latents: Tensor, labels: Tensor) -> Tensor:
    """The toy world's pictures with each pixel repeated: [N, 256]."""
    return paint(latents, labels).view(-1, 8, 8).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).flatten(1)


def on_three_latents(latents: Tensor, labels: Tensor) -> Tensor:
    return enlarged(torch.cat([latents[:, :3], torch.zeros_like(latents[:, 3:])], dim=1), labels)


def real(count: int, seed: int, painter: object = enlarged) -> tuple[Images, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(CLASSES), count)
    latents = torch.from_numpy(random.normal(size=(count, LATENTS))).float()
    made = painter(latents, torch.from_numpy(labels))  # type: ignore[operator]
    return to_uint8(made.view(-1, 1, SIZE, SIZE)), labels


OPTIONS = options_of(
    samples=300, reconstruction__images=40, reconstruction__candidates=120, reconstruction__starts=1,
    reconstruction__steps=80, reconstruction__batch_size=40, reconstruction__prior_weight=0.0,
)  # fmt: skip


def reference(folder: Path, train: tuple[Images, np.ndarray], test: tuple[Images, np.ndarray]) -> Reference:
    return reference_of(packed(train, test), folder)


def test_a_generator_of_the_truth_finds_both_alike(tmp_path: Path) -> None:
    world = reference(tmp_path, real(120, 1), real(60, 2))
    drawn = draw_of(image_generator(enlarged, size=SIZE), world, OPTIONS)
    found = measure_reconstruction(drawn, None, world, OPTIONS)
    assert (found.held_out, found.training) == (40, 40)
    assert found.psnr.held_out.estimate > 40
    assert found.psnr.held_out.estimate <= HIGHEST_PSNR
    assert found.ssim.held_out.estimate > 0.99
    assert found.distance.held_out.estimate < 0.05
    for both in found.by_name.values():
        assert both.held_out.low <= both.held_out.estimate <= both.held_out.high
        assert both.difference.low <= 0 <= both.difference.high
        assert both.difference.estimate == pytest.approx(both.training.estimate - both.held_out.estimate)
    assert measure_reconstruction(drawn, None, world, OPTIONS) == found


def test_training_images_learned_by_heart_show(tmp_path: Path) -> None:
    world = reference(tmp_path, real(120, 1, on_three_latents), real(60, 2))
    drawn = draw_of(image_generator(on_three_latents, size=SIZE), world, OPTIONS)
    found = measure_reconstruction(drawn, None, world, OPTIONS)
    assert found.psnr.difference.low > 0
    assert found.ssim.difference.low > 0
    assert found.distance.difference.high < 0
    # As metrics.json has it.
    figures = evaluation().model_copy(update={"reconstruction": found}).figures()["reconstruction"]
    assert len(figures) == 18
    assert figures["psnr_held_out"] == found.psnr.held_out.estimate
    assert figures["distance_train_high"] == found.distance.training.high


def test_too_few_images_have_no_interval(tmp_path: Path) -> None:
    world = reference(tmp_path, real(120, 1), real(19, 2))
    drawn = draw_of(image_generator(enlarged, size=SIZE), world, OPTIONS)
    with pytest.raises(UserError, match=r"^reconstruction: an interval needs at least 20 test images, found 19"):
        measure_reconstruction(drawn, None, world, OPTIONS)
