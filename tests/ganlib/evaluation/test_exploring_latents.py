"""Truncation trades diversity for quality, and path lengths are those of the arcs that the images follow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.errors import UserError
from ganlib.evaluation.drawing import Reference
from ganlib.evaluation.latent_space import figures_of, measure_path_length, measure_truncation
from ganlib.evaluation.measuring import classified
from ganlib.metrics.fidelity import measure
from tests.toy_evaluation import (
    CENTRES,
    LATENTS,
    PLANE,
    draw_of,
    image_generator,
    options_of,
    packed,
    real_images,
    reference_of,
)

TRAIN, TEST = real_images(600, 10), real_images(400, 11)
SPEED = 0.05


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    return reference_of(packed(TRAIN, TEST), tmp_path)


def test_less_latent_is_less_diverse_and_more_typical(reference: Reference, tmp_path: Path) -> None:
    options = options_of(latent__truncations=[1.0, 0.2, 0.6])
    drawn = draw_of(image_generator(), reference, options)
    known = set(tmp_path.iterdir())
    curve = measure_truncation(drawn, reference, options)
    assert [point.psi for point in curve] == [0.2, 0.6, 1.0]
    for name in ("recall", "coverage"):
        assert np.all(np.diff([point.figures[name] for point in curve]) > 0), name
    assert np.all(np.diff([point.figures["fid"] for point in curve]) < 0)
    assert np.all(np.diff([point.figures["density"] for point in curve]) < 0)
    full = measure(drawn.sample, reference.test_sample, ["fid", "precision"], options)
    full |= measure(classified(drawn), reference.test_sample, ["label_fidelity"], options)
    assert {name: curve[-1].figures[name] for name in full} == full
    assert len(set(tmp_path.iterdir()) - known) == 2
    assert measure_truncation(drawn, reference, options) == curve


def test_an_unconditional_generator_has_no_label_fidelity(reference: Reference) -> None:
    options = options_of(latent__truncations=[1.0], samples=200)
    (point,) = measure_truncation(draw_of(image_generator(conditional=False), reference, options), reference, options)
    assert set(point.figures) == {"fid", "precision", "recall", "density", "coverage"}


def test_figures_of_too_few_images_are_left_out(reference: Reference) -> None:
    options = options_of(latent__truncations=[1.0], samples=90)
    drawn = draw_of(image_generator(conditional=False), reference, options)
    assert set(figures_of(drawn.sample, None, reference, options)) == {"fid"}
    with pytest.raises(UserError, match=r"^figures of 10 images mean nothing, at least \d+ are needed; raise"):
        figures_of(drawn.part(slice(10)), None, reference, options)


def linear(latents: Tensor, labels: Tensor) -> Tensor:
    return SPEED * latents @ PLANE


def faster_in_later_classes(latents: Tensor, labels: Tensor) -> Tensor:
    return CENTRES[labels] + (1 + labels[:, None]).sqrt() * linear(latents, labels)


def arc_speeds(count: int) -> np.ndarray:
    """Squared speeds on arcs between normal latents: along the arc, and of its length, which goes evenly."""
    draw = np.random.default_rng(3)
    starts, ends = draw.normal(size=(2, count, LATENTS))
    lengths, end_lengths = (np.linalg.norm(side, axis=1) for side in (starts, ends))
    angles = np.arccos((starts * ends).sum(axis=1) / lengths / end_lengths)
    radius = lengths + draw.random(count) * (end_lengths - lengths)
    return (radius * angles) ** 2 + (end_lengths - lengths) ** 2


@pytest.mark.parametrize("conditional", [True, False])
def test_the_path_length_of_a_linear_generator(reference: Reference, conditional: bool) -> None:
    options = options_of(latent__path_pairs=4000)
    drawn = draw_of(image_generator(linear, conditional=conditional), reference, options)
    found = measure_path_length(drawn, reference, options)
    speeds = SPEED**2 * np.sort(arc_speeds(400_000))[4000:-4000]
    assert found.low < speeds.mean() < found.high
    assert found.high - found.low < 0.1 * speeds.mean()
    assert measure_path_length(drawn, reference, options) == found


def test_both_ends_of_a_path_are_of_one_class_and_all_classes_count(reference: Reference) -> None:
    """Between classes an image would jump, over a distance that has nothing to do with the latents."""
    options = options_of(latent__path_pairs=3000, batch_size=700)
    one, other = (
        measure_path_length(draw_of(image_generator(painter), reference, options, name), reference, options).estimate
        for name, painter in (("one", linear), ("other", faster_in_later_classes))
    )
    assert other == pytest.approx(one * (1 + 2 + 3) / 3, rel=0.1)


def test_what_lies_beyond_white_has_no_length(reference: Reference) -> None:
    def blinding(latents: Tensor, labels: Tensor) -> Tensor:
        return 2 + torch.relu(linear(latents, labels))

    drawn = draw_of(image_generator(linear), reference, options_of())
    dazzled = replace(drawn, generator=image_generator(blinding))
    assert measure_path_length(dazzled, reference, options_of()).estimate == 0
