"""Single images judged in a world whose truth is known, by a critic that knows it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib.evaluation.drawing import Draw, Reference
from ganlib.judging import Judge, Judgement
from ganlib.networks.base import Critic
from tests.toy_evaluation import (
    CENTRES,
    CLASSES,
    PLANE,
    SIZE,
    draw_of,
    image_generator,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

SHRUNK = 0.6
OPTIONS = options_of()


class TruthfulCritic(Critic):
    """The lower the farther an image is from what its class can be; from an unconditional one, from the first."""

    def __init__(self, *, conditional: bool = True) -> None:
        classes = len(CLASSES) if conditional else 0
        super().__init__(num_classes=classes, couples_samples=False, feature_dim=CENTRES.shape[1])
        self.centres = nn.Parameter(CENTRES, requires_grad=False)

    def embed(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return images.flatten(1)

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        chosen = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
        offset = images.flatten(1) - self.centres[chosen]
        distance: Tensor = torch.linalg.vector_norm(offset - offset @ PLANE.T @ PLANE, dim=1)
        return -distance

    def lower_layers(self) -> list[nn.Module]:
        return []


def timid(latents: Tensor, labels: Tensor) -> Tensor:
    """Generates off the plane by a little, and varies less than the truth."""
    images = paint(SHRUNK * latents, labels)
    return images + 0.05 * torch.sin(37 * images)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    data = packed(real_images(1500, 1), real_images(500, 2))
    return reference_of(data, tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def drawn(reference: Reference) -> Draw:
    return draw_of(image_generator(timid), reference, OPTIONS)


@pytest.fixture(scope="module")
def judge(reference: Reference, drawn: Draw) -> Judge:
    return Judge(reference, drawn, TruthfulCritic(), OPTIONS)


def held_out(reference: Reference) -> np.ndarray:
    return reference.data.test.take(np.arange(len(reference.data.test)))


def mean(judgements: tuple[Judgement, ...], who: str, side: str) -> float:
    return float(np.mean([getattr(getattr(each, who), side) for each in judgements]))


def test_held_out_images_are_in_the_middle_of_their_own(judge: Judge, reference: Reference) -> None:
    found = judge.judge(held_out(reference))
    assert judge.compared == 500
    for who in ("critic", "features"):
        assert mean(found, who, "held_out") == pytest.approx(50, abs=0.2)
    assert mean(found, "critic", "generated") > 95  # generated ones are off the plane
    assert sum(each.near_copy for each in found) <= 2
    fresh = judge.judge(real_images(500, 3)[0])
    for who in ("critic", "features"):
        assert mean(fresh, who, "held_out") == pytest.approx(50, abs=5)
    labels = [each.prediction.label for each in found if each.prediction is not None]
    assert reference.data.test.labels is not None
    truth = [CLASSES[label] for label in reference.data.test.labels]
    assert np.mean([one == other for one, other in zip(labels, truth, strict=True)]) > 0.9


def test_generated_images_are_in_the_middle_of_theirs(judge: Judge, drawn: Draw) -> None:
    found = judge.judge(drawn.images(range(500), batch_size=100))
    for who in ("critic", "features"):
        assert mean(found, who, "generated") == pytest.approx(50, abs=0.5)
    assert mean(found, "critic", "held_out") < 5
    assert mean(found, "features", "held_out") > 60  # what varies little is near to everything


def test_noise_is_at_the_bottom(judge: Judge) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 1), dtype=np.uint8)
    for each in judge.judge(noise):
        assert each.critic.held_out == each.critic.generated == 0
        assert each.features.held_out == each.features.generated == 0
        assert each.features.score > 1
        assert not each.near_copy


def test_training_images_are_near_copies_of_themselves(judge: Judge, reference: Reference) -> None:
    rows = np.array([0, 700, 1499])
    images = reference.data.train.take(rows)
    touched = images.copy()
    touched[:, 0, 0] ^= 1
    for copies in (images, touched):
        for row, each in zip(rows, judge.judge(copies), strict=True):
            assert each.near_copy
            assert each.as_close == 0
            assert each.nearest[0].index == row
            assert reference.data.train.labels is not None
            assert each.nearest[0].label == CLASSES[reference.data.train.labels[row]]
            distances = [near.distance for near in each.nearest]
            assert distances == sorted(distances)


def test_the_critic_hears_the_label_that_was_given(judge: Judge, reference: Reference) -> None:
    image = reference.data.test.take(np.array([0]))
    assert reference.data.test.labels is not None
    truth = int(reference.data.test.labels[0])
    by_itself, right, wrong = (judge.judge(image, label)[0] for label in (None, truth, (truth + 1) % len(CLASSES)))
    assert by_itself == right
    assert wrong.critic.score < right.critic.score
    assert (wrong.features, wrong.prediction) == (right.features, right.prediction)


def test_unlabelled_data_have_no_classes(tmp_path: Path) -> None:
    first = np.zeros(1500, dtype=np.int64)
    train, test = (real_images(count, seed, labels=first[:count])[0] for count, seed in ((1500, 1), (500, 2)))
    reference = reference_of(packed((train, None), (test, None)), tmp_path)
    drawn = draw_of(image_generator(paint, conditional=False), reference, OPTIONS)
    found = Judge(reference, drawn, TruthfulCritic(conditional=False), OPTIONS).judge(test)
    assert {each.prediction for each in found} == {None}
    assert {near.label for each in found for near in each.nearest} == {None}
    for who in ("critic", "features"):
        assert mean(found, who, "held_out") == pytest.approx(50, abs=0.2)
        assert mean(found, who, "generated") == pytest.approx(50, abs=5)  # this generator knows the truth


def test_other_images_in_the_same_call_change_nothing(judge: Judge, reference: Reference) -> None:
    images = held_out(reference)[:7]
    together = judge.judge(images)
    for place, expected in enumerate(together):
        (alone,) = judge.judge(images[place : place + 1])
        assert alone.critic.score == pytest.approx(expected.critic.score, abs=1e-5)
        assert alone.features.score == pytest.approx(expected.features.score, abs=1e-5)
        assert [near.index for near in alone.nearest] == [near.index for near in expected.nearest]
