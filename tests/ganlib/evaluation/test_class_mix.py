"""Generated images are compared in the class shares of the real ones; each class is judged by enough images of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import Tensor

from ganlib.evaluation.comparison import compare
from ganlib.evaluation.drawing import Reference
from ganlib.evaluation.pictures import real_beside_generated
from ganlib.evaluation.protocol import evaluate
from ganlib.metrics.fidelity import measure
from ganlib.metrics.intervals import Sample
from ganlib.sampling import Images, balanced_labels
from tests.configs import tiny_config
from tests.toy_evaluation import (
    PIXELS,
    Painter,
    draw_of,
    image_generator,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

RECIPE = tiny_config({"extractor.total_images": 640}).extractor
SHARES = (0.85, 0.12, 0.03)
OPTIONS = options_of(samples=1000, latent__kept_share=None)
GATE = tiny_config({f"register.guards.{name}": None for name in ("coverage_drop", "worst_class_rise")}).register_


def skewed(count: int, seed: int, shares: tuple[float, ...] = SHARES) -> tuple[Images, np.ndarray]:
    return real_images(count, seed, labels=np.random.default_rng(seed).choice(3, size=count, p=shares))


TRAIN, TEST = skewed(1200, 1), skewed(400, 2)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_of(packed(TRAIN, TEST), tmp_path_factory.mktemp("features"))


def replay(images: Images, labels: np.ndarray) -> Painter:
    """Shows real training images of the class that is asked for."""
    pixels = torch.from_numpy(images).flatten(1).float().div(127.5).sub(1)
    members = [torch.from_numpy(np.flatnonzero(labels == label)) for label in range(3)]

    def painter(latents: Tensor, asked: Tensor) -> Tensor:
        made = torch.empty(len(latents), PIXELS)
        for row, (place, label) in enumerate(zip(ndtr(latents[:, 0].numpy()), asked.tolist(), strict=True)):
            made[row] = pixels[members[label][int(place * len(members[label]))]]
        return made

    return painter


def first_class_only(latents: Tensor, labels: Tensor) -> Tensor:
    return paint(latents, torch.zeros_like(labels))


def fid(sample: Sample, reference: Reference) -> float:
    return measure(sample, reference.test_sample, ["fid"], OPTIONS)["fid"]


def test_real_images_asked_for_by_class_score_as_the_floor_and_one_class_alone_does_not(reference: Reference) -> None:
    floor = fid(Sample(reference.train, None, stratified=False), reference)
    faithful = draw_of(image_generator(replay(*TRAIN)), reference, OPTIONS, "replay")
    blind = draw_of(image_generator(first_class_only), reference, OPTIONS, "blind")
    assert fid(faithful.sample, reference) < 1.2 * floor
    assert fid(blind.sample, reference) > 3 * floor
    assert compare(faithful, blind, reference, GATE, OPTIONS).metric.difference.high < 0


def test_the_compared_images_have_the_shares_and_each_class_has_enough(reference: Reference) -> None:
    drawn = draw_of(image_generator(), reference, OPTIONS)
    assert drawn.labels is not None
    wanted = 1000 * np.bincount(TEST[1]) / len(TEST[1])
    assert np.abs(np.bincount(drawn.sample.labels) - wanted).max() < 1
    assert np.bincount(drawn.labels[drawn.even_rows]).tolist() == [334, 333, 333]
    lacking = sum(max(333 - count, 0) for count in np.bincount(drawn.sample.labels))
    assert len(drawn.labels) == 1000 + lacking
    # Half of the images have the shares too: what looks at some of them only compares likewise.
    assert np.abs(np.bincount(drawn.labels[:500]) - wanted / 2).max() < 2
    images = drawn.images([0, 1100], batch_size=2)
    assert torch.allclose(reference.extractor.extract(images).values, drawn.features.values[[0, 1100]], atol=1e-6)


def test_even_classes_are_drawn_in_turn_and_no_more_images_than_asked(tmp_path: Path) -> None:
    even = real_images(300, 1, labels=np.arange(300) % 3)
    drawn = draw_of(image_generator(), reference_of(packed(TRAIN, even), tmp_path), OPTIONS)
    assert drawn.labels is not None
    assert torch.equal(drawn.labels, balanced_labels(1000, 3))
    assert drawn.even_rows == slice(1000)


def test_other_shares_of_the_same_number_of_held_out_images_are_another_draw(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"samples": 999})
    found = [
        draw_of(image_generator(), reference_of(packed(TRAIN, (TEST[0], labels)), tmp_path), options)
        for labels in (TEST[1], 2 - TEST[1])
    ]
    assert len(found[0].features) == len(found[1].features)
    assert not torch.equal(found[0].features.values, found[1].features.values)


@pytest.mark.parametrize("in_test", [True, False])
def test_a_class_that_one_split_lacks_or_has_once_breaks_nothing(in_test: bool, tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"samples": 400, "accuracy_score_images": 640})
    for lonely in (0, 1):
        images, labels = TEST if in_test else TRAIN
        kept = np.concatenate([np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)[:lonely]])
        cut = images[kept], labels[kept]
        real = reference_of(packed(TRAIN, cut) if in_test else packed(cut, TEST), tmp_path / str(lonely))
        found = evaluate(draw_of(image_generator(), real, options), real, options, critic=None, recipe=RECIPE)
        assert {"domain/fid", "domain/kid", "domain/coverage", "domain/label_fidelity", "domain/accuracy_score"} <= set(
            found.metrics
        )
        assert {row.name: row.generated for row in found.classes} == {"ant": 134, "bee": 133, "cat": 133}


def test_real_images_beside_an_unconditional_generator_are_random_as_its_own_are() -> None:
    """In turn they would show classes evenly, which it cannot be asked for."""
    data = packed(TRAIN, (np.where(TEST[1] == 0, 0, 255)[:, None, None, None].astype(np.uint8) + 0 * TEST[0], TEST[1]))
    for conditional, share in ((False, SHARES[0]), (True, 1 / 3)):
        shown = real_beside_generated(
            image_generator(conditional=conditional), data, seed=0, rows=12, columns=12, scale=1
        )
        real = shown[:, : 12 * 9 - 1]
        dark = (real[4::9, 4::9] == 0).mean()
        assert dark == pytest.approx(share, abs=0.1)
