"""A critic that knows better improves the images; one that knows nothing is told so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib.errors import UserError
from ganlib.evaluation.drawing import Reference
from ganlib.evaluation.rejection import _as_many, _kept, critic_logits, measure_rejection
from ganlib.networks.base import Critic
from tests.toy_evaluation import (
    CENTRES,
    CLASSES,
    PIXELS,
    PLANE,
    draw_of,
    image_generator,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

TRAIN, TEST = real_images(600, 10), real_images(400, 11)
NOISE = torch.from_numpy(np.random.default_rng(5).normal(size=(6, PIXELS))).float()

Opinion = Callable[[Tensor, Tensor], Tensor]


class Opinionated(Critic):
    """Says of pictures [N, PIXELS] and labels what it is told to."""

    def __init__(self, opinion: Opinion, *, num_classes: int = len(CLASSES)) -> None:
        super().__init__(num_classes=num_classes, couples_samples=False, feature_dim=PIXELS)
        self.opinion = opinion
        self.gain = nn.Parameter(torch.ones(()))
        self.noise = nn.Dropout(0.5)

    def embed(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return images.flatten(1)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        assert (labels is None) == (self.num_classes == 0)
        chosen = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
        logits: Tensor = self.noise(self.gain) * self.opinion(images.flatten(1), chosen)
        return logits

    def lower_layers(self) -> list[nn.Module]:
        return []


def half_spoiled(latents: Tensor, labels: Tensor) -> Tensor:
    """The true distribution, with noise across the plane of true images for half the latents, wherever they lie."""
    spoiled = (latents[:, :1].abs() * 1e4).long() % 2 == 1
    return paint(latents, labels) + torch.where(spoiled, 0.1 * latents @ NOISE, 0)


def strangeness(images: Tensor, labels: Tensor) -> Tensor:
    """Squared distance from the plane of the class."""
    around = images - CENTRES[labels]
    return (around - around @ PLANE.T @ PLANE).square().sum(dim=1)


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    return reference_of(packed(TRAIN, TEST), tmp_path)


@pytest.mark.parametrize(
    "opinion",
    [
        lambda images, labels: -10 * strangeness(images, labels),
        lambda images, labels: 500 - 0.01 * strangeness(images, labels),
        lambda images, labels: -strangeness(images, labels).sqrt().tanh(),
    ],
    ids=["steep", "shifted", "bent"],
)
def test_a_critic_that_knows_lets_only_good_images_pass(reference: Reference, opinion: Opinion) -> None:
    options = options_of(latent__kept_share=0.4, samples=1500)
    drawn = draw_of(image_generator(half_spoiled), reference, options)
    critic = Opinionated(opinion)
    found = measure_rejection(drawn, critic, reference, options)
    assert found.kept_share == pytest.approx(0.4, abs=0.04)
    assert found.count == round(found.kept_share * 1500)
    assert found.after["fid"] < found.before["fid"] / 2
    assert found.after["precision"] > found.before["precision"] + 0.3
    assert set(found.after) == set(found.before) >= {"recall", "coverage", "label_fidelity"}
    assert critic.training
    assert measure_rejection(drawn, critic, reference, options) == found


def test_an_unconditional_critic_gets_no_labels(tmp_path: Path) -> None:
    train, test = ((real_images(400, seed, labels=np.zeros(400, dtype=np.int64))[0], None) for seed in (1, 2))
    reference = reference_of(packed(train, test), tmp_path)
    options = options_of(latent__kept_share=0.4, samples=1000)
    drawn = draw_of(image_generator(half_spoiled, conditional=False), reference, options)
    critic = Opinionated(lambda images, labels: -strangeness(images, labels), num_classes=0)
    found = measure_rejection(drawn, critic, reference, options)
    assert found.after["fid"] < found.before["fid"] / 2
    assert "label_fidelity" not in found.after


@pytest.mark.parametrize(
    ("opinion", "told"),
    [
        (lambda images, labels: 0 * images[:, 0], "no better than chance"),
        (lambda images, labels: images @ NOISE[0], "no better than chance"),
        (lambda images, labels: strangeness(images, labels), "no better than chance"),
        (lambda images, labels: images[:, 0] / 0, "not finite"),
    ],
    ids=["constant", "blind", "wrong", "broken"],
)
def test_a_critic_that_knows_nothing_is_refused(reference: Reference, opinion: Opinion, told: str) -> None:
    options = options_of(latent__kept_share=0.4)
    painter = half_spoiled if "finite" in told else paint
    drawn = draw_of(image_generator(painter), reference, options)
    with pytest.raises(UserError, match=f"^critic: .*{told}"):
        measure_rejection(drawn, Opinionated(opinion), reference, options)


def test_liking_a_class_that_is_frequent_in_reality_is_no_knowledge(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice(3, 600, p=[0.8, 0.1, 0.1])
    reference = reference_of(packed(real_images(600, 1, labels=labels), TEST), tmp_path)
    options = options_of(latent__kept_share=0.4)
    drawn = draw_of(image_generator(), reference, options)
    fond = Opinionated(lambda images, labels: (labels == 0) + 0.01 * images @ NOISE[0])
    with pytest.raises(UserError, match="no better than chance"):
        measure_rejection(drawn, fond, reference, options)


def test_the_critic_is_told_the_class_of_each_image(reference: Reference) -> None:
    def wary(images: Tensor, labels: Tensor) -> Tensor:
        assert float((torch.cdist(images, CENTRES).argmin(dim=1) == labels).float().mean()) > 0.9
        return -strangeness(images, labels)

    options = options_of(latent__kept_share=0.4)
    drawn = draw_of(image_generator(half_spoiled), reference, options)
    measure_rejection(drawn, Opinionated(wary), reference, options)


def test_kept_and_random_images_are_of_the_same_classes() -> None:
    strata = torch.arange(900) % 3
    logits, burn_in = (torch.from_numpy(np.random.default_rng(seed).normal(size=900)) + 5 * strata for seed in (0, 1))
    kept, others = _kept(logits, burn_in, strata, 0.3, np.random.default_rng(0))
    assert len(set(kept.tolist())) == len(kept)
    counts, other_counts = (torch.bincount(strata[rows]).tolist() for rows in (kept, others))
    assert counts == other_counts
    assert all(count == pytest.approx(90, abs=25) for count in counts)
    spread = logits - 5 * strata
    assert float(spread[kept].mean()) > 0.5
    assert abs(float(spread[others].mean())) < 0.2


def test_both_sides_of_a_calibration_have_the_same_classes() -> None:
    one, other = torch.tensor([0] * 50 + [1] * 3 + [2] * 9), torch.tensor([0, 1] * 20 + [3])
    rows, others = _as_many(one, other, np.random.default_rng(0))
    assert torch.bincount(one[rows]).tolist() == torch.bincount(other[others]).tolist() == [20, 3]


def test_logits_are_those_of_a_quiet_critic_whatever_the_batches() -> None:
    critic = Opinionated(lambda images, labels: images.mean(dim=1) + labels)
    images, labels = TRAIN
    expected = images.reshape(600, -1).mean(axis=1) / 127.5 - 1 + labels
    for size in (600, 77):
        batches = (images[start : start + size] for start in range(0, 600, size))
        np.testing.assert_allclose(critic_logits(critic, batches, torch.from_numpy(labels)), expected, atol=1e-5)
