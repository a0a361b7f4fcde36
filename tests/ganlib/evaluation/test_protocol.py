"""The whole evaluation in a world whose truth is known: what is measured, what is left out and why."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.errors import UserError
from ganlib.evaluation.drawing import Reference
from ganlib.evaluation.protocol import evaluate, measured_on
from ganlib.evaluation.record import FORMAT_VERSION, Evaluation
from ganlib.networks import build_critic
from ganlib.networks.base import Critic
from tests.configs import tiny_config
from tests.toy_evaluation import (
    draw_of,
    image_generator,
    image_spec,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

RECIPE = tiny_config({"extractor.total_images": 640}).extractor
QUICK: dict[str, Any] = {"samples": 600, "accuracy_score_images": None, "latent__kept_share": None}


def reference(folder: Path, *, train: int = 600, test: int = 400, labelled: bool = True) -> Reference:
    sides = [real_images(count, seed) for seed, count in enumerate((train, test))]
    return reference_of(packed(*((images, labels if labelled else None) for images, labels in sides)), folder)


def untrained_critic(generator: Any) -> Critic:
    torch.manual_seed(0)
    return build_critic(generator.network, image_spec()).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Of a generator that paints the truth."""
    options = options_of(samples=600, accuracy_score_images=3200)
    real = reference(tmp_path_factory.mktemp("features"))
    generator = image_generator()
    critic = untrained_critic(generator)
    return evaluate(draw_of(generator, real, options), real, options, critic=critic, recipe=RECIPE)


def test_every_figure_of_a_perfect_generator_is_where_it_should_be(perfect: Evaluation) -> None:
    figures = perfect.metrics
    assert set(figures) == {f"domain/{name}" for name in (
        "fid", "kid", "is", "precision", "recall", "density", "coverage", "diversity", "label_fidelity",
        "fid_infinity", "fid_floor", "path_length", "accuracy_score",
    )}  # fmt: skip
    for name, truth in {"fid": 0.0, "kid": 0.0, "diversity": 1.0}.items():
        interval = figures[f"domain/{name}"].interval
        assert interval is not None
        assert interval.low <= truth <= interval.high, name
    assert figures["domain/fid"].value > figures["domain/fid_infinity"].value
    assert figures["domain/fid"].value == pytest.approx(figures["domain/fid_floor"].value, rel=0.25)
    assert figures["domain/accuracy_score"].value > 0.9
    assert figures["domain/accuracy_score"].conditions.weights_sha256 is None, "no kept classifier made it"
    assert figures["domain/fid"].conditions.weights_sha256
    assert [row.name for row in perfect.classes] != []
    assert {row.name for row in perfect.classes} == {"ant", "bee", "cat"}
    assert [point.psi for point in perfect.truncation] == [0.5, 1.0]
    for found in perfect.memorisation.values():
        assert found.p_value > 0.01
        assert found.share.low <= 0


def test_a_critic_that_ranks_nothing_leaves_rejection_out(perfect: Evaluation) -> None:
    assert perfect.rejection is None
    assert "no better than chance" in perfect.skipped["rejection"]
    assert set(perfect.skipped) == {"rejection"}


def test_the_record_comes_back_from_its_file(perfect: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    perfect.write(path)
    assert Evaluation.read(path) == perfect
    groups = perfect.figures()
    assert groups["domain"]["fid"] == perfect.metrics["domain/fid"].value
    assert groups["domain"]["fid_low"] <= groups["domain"]["fid_high"]
    path.write_text(path.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 1'))
    with pytest.raises(UserError, match=f"format 1, expected {FORMAT_VERSION}; run the evaluate stage again"):
        Evaluation.read(path)
    path.write_text("{")
    with pytest.raises(UserError, match="damaged or of another version"):
        Evaluation.read(path)


def test_the_same_evaluation_twice_is_the_same_whatever_the_batch(tmp_path: Path) -> None:
    real = reference(tmp_path)
    found = []
    for batch_size in (250, 250, 77):
        options = options_of(**QUICK, batch_size=batch_size)
        drawn = draw_of(image_generator(), real, options)
        found.append(evaluate(drawn, real, options, critic=None, recipe=RECIPE))
    assert found[0] == found[1]
    for name, figure in found[0].metrics.items():
        assert found[2].metrics[name].value == pytest.approx(figure.value, rel=1e-5), name


def test_a_classifier_that_knows_nothing_is_an_alarm_in_the_record(perfect: Evaluation, tmp_path: Path) -> None:
    assert perfect.alarms == ()
    train, (images, labels) = real_images(200, 0), real_images(200, 1)
    shuffled = np.random.default_rng(0).permutation(labels)
    real, options = reference_of(packed(train, (images, shuffled)), tmp_path), options_of(**QUICK | {"samples": 100})
    found = evaluate(draw_of(image_generator(), real, options), real, options, critic=None, recipe=RECIPE)
    (alarm,) = found.alarms
    assert "not surely better than chance" in alarm


def test_unlabelled_data_have_no_figures_of_classes(tmp_path: Path) -> None:
    real = reference(tmp_path, labelled=False)
    reconstruction = {"reconstruction__images": 20, "reconstruction__steps": 1, "reconstruction__candidates": 4}
    options = options_of(**QUICK | {"accuracy_score_images": 640} | reconstruction)
    drawn = draw_of(image_generator(conditional=False), real, options)
    found = evaluate(drawn, real, options, critic=None, recipe=RECIPE)
    assert found.skipped.pop("reconstruction") == "ssim: found images of 8 x 8 pixels, expected at least 11 a side"
    assert "domain/fid" in found.metrics
    assert found.classes == ()
    assert not {"domain/diversity", "domain/label_fidelity"} & set(found.metrics)
    assert set(found.skipped) == {"domain/accuracy_score"}, "the only one that was asked for"


def test_too_few_images_leave_out_what_would_mean_nothing(tmp_path: Path) -> None:
    real = reference(tmp_path, train=60, test=60)
    options = options_of(**QUICK)
    found = evaluate(draw_of(image_generator(), real, options), real, options, critic=None, recipe=RECIPE)
    assert {"domain/fid", "domain/precision", "domain/coverage", "memorisation"} <= set(found.skipped)
    assert "found 60" in found.skipped["domain/fid"]
    assert found.skipped["domain/fid_floor"].endswith("training images, found 60; provide more")
    assert "domain/kid" in found.metrics
    too_few = reference(tmp_path, train=60, test=30)
    with pytest.raises(UserError, match=r"evaluate\.kid_subset_size=50: .* held-out images, found 30;"):
        evaluate(draw_of(image_generator(), too_few, options), too_few, options, critic=None, recipe=RECIPE)


def test_planted_flaws_show_where_they_are_planted(perfect: Evaluation, tmp_path: Path) -> None:
    """One class collapsed to its mean: the worst class by name, less diversity and coverage; the others stay."""

    def collapsed(latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return paint(torch.where(labels[:, None] == 1, 0.2 * latents, latents), labels)

    real = reference(tmp_path)
    options = options_of(**QUICK)
    found = evaluate(draw_of(image_generator(collapsed), real, options), real, options, critic=None, recipe=RECIPE)
    assert found.classes[0].name == "bee"
    worst = found.classes[0]
    assert worst.distance is not None
    assert worst.distance.low > 0
    assert worst.diversity == pytest.approx(0.2, abs=0.05)
    for name in ("coverage", "recall", "diversity"):
        assert found.metrics[f"domain/{name}"].value < perfect.metrics[f"domain/{name}"].value - 0.1
    assert found.metrics["domain/fid"].value > 2 * perfect.metrics["domain/fid"].value


def test_figures_compare_only_on_the_same_ground(tmp_path: Path) -> None:
    real, other = reference(tmp_path), reference(tmp_path, test=401)
    assert real.classifier is not None
    retrained = copy.copy(real.classifier)
    retrained.weights_sha256 = "1" * 64
    assert measured_on(real, options_of()) == measured_on(real, options_of())
    grounds = {
        measured_on(real, options_of()),
        measured_on(other, options_of()),
        measured_on(real, options_of(seed=1)),
        measured_on(replace(real, classifier=retrained), options_of()),
    }
    assert len(grounds) == 4


def test_features_of_images_are_forgotten_when_the_code_that_makes_them_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A champion's weights stay as they are, and still its images are others."""
    real, options = reference_of(packed(real_images(60, 0), real_images(60, 1)), tmp_path), options_of(samples=60)
    kept = draw_of(image_generator(), real, options).features.values
    before = measured_on(real, options)

    def darker(latents: Tensor, labels: Tensor) -> Tensor:
        return paint(latents, labels) - 0.5

    assert torch.equal(draw_of(image_generator(darker), real, options).features.values, kept)
    for module in ("drawing", "protocol"):
        monkeypatch.setattr(f"ganlib.evaluation.{module}.images_code", lambda: "changed")
    assert not torch.equal(draw_of(image_generator(darker), real, options).features.values, kept)
    assert measured_on(real, options) != before


def test_order_of_real_images_changes_nothing(tmp_path: Path) -> None:
    train, (images, labels) = real_images(600, 0), real_images(400, 1)
    options = options_of(**QUICK)
    found = []
    for name, order in (("a", np.arange(400)), ("b", np.random.default_rng(0).permutation(400))):
        real = reference_of(packed(train, (images[order], labels[order])), tmp_path / name)
        found.append(evaluate(draw_of(image_generator(), real, options), real, options, critic=None, recipe=RECIPE))
    for name in ("fid", "precision", "recall", "density", "coverage", "diversity", "label_fidelity", "is"):
        one, other = (each.metrics[f"domain/{name}"].value for each in found)
        assert one == pytest.approx(other, rel=1e-9), name
