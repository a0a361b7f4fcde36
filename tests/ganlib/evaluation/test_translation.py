"""Translations measured where the answer is known: noise on pictures whose pixels come in equal squares."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.evaluation.drawing import Draw, Reference, draw
from ganlib.evaluation.measuring import Findings, measure_figures
from ganlib.evaluation.record import Translation
from ganlib.evaluation.translation import measure_translation
from ganlib.networks.base import Generator
from ganlib.packaging import ImageGenerator
from tests.evaluations import evaluation
from tests.ganlib.evaluation.test_reconstruction import SIZE, real, reference
from tests.ganlib.networks.test_unet import options as unet
from tests.ganlib.test_degradations import options as inputs
from tests.toy_evaluation import options_of

LATENTS = 5
OPTIONS = options_of(samples=300, batch_size=50)


class Known(Generator):
    """What a function makes of latents and inputs."""

    def __init__(self, made: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(latent_dim=LATENTS, num_classes=0)
        self.made = made
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        return self.made(latents, condition)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference(tmp_path_factory.mktemp("features"), real(120, 1), real(60, 2))


def drawn(made: Callable[[Tensor, Tensor], Tensor], world: Reference, name: str) -> Draw:
    translator = ImageGenerator(
        Known(made),
        unet(latent_dim=LATENTS),
        world.data.image,
        {"seen_images": 1},
        inputs({"kind": "denoise", "std": 0.1}),
    )
    return draw(translator, name * 64, world, OPTIONS)


def measured(made: Callable[[Tensor, Tensor], Tensor], world: Reference, name: str) -> Translation:
    return measure_translation(drawn(made, world, name), world, OPTIONS)


def test_inputs_passed_on_gain_nothing(world: Reference) -> None:
    found = measured(lambda _latents, given: given, world, "a")
    assert found.images == 60
    for gain in found.gains.values():
        assert gain.made.estimate == pytest.approx(gain.given.estimate)
        assert [gain.difference.low, gain.difference.high] == pytest.approx([0, 0], abs=1e-9)
    assert found.diversity.estimate == 0
    assert found.gains["psnr"].given.estimate == pytest.approx(20 * math.log10(2 / 0.1), abs=0.3)


def test_what_asks_for_classes_is_no_figure_of_a_translator_and_none_that_is_missed(world: Reference) -> None:
    findings = Findings()
    measure_figures(drawn(lambda _latents, given: given, world, "d"), world, OPTIONS, findings)
    assert "domain/kid" in findings.metrics
    assert not {"domain/diversity", "domain/label_fidelity"} & {*findings.metrics, *findings.skipped}


def test_means_over_four_equal_pixels_gain_six_decibels(world: Reference) -> None:
    def mean_of_squares(_latents: Tensor, given: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(given, 2), scale_factor=2)

    found = measured(mean_of_squares, world, "b")
    gain = found.gains["psnr"].difference
    assert gain.estimate == pytest.approx(10 * math.log10(4), abs=0.4)
    assert gain.low > 5
    assert found.gains["ssim"].difference.low > 0
    assert found.gains["distance"].difference.high < 0
    figures = evaluation().model_copy(update={"translation": found}).figures()["translation"]
    assert figures["psnr_gain"] == gain.estimate
    assert figures["fid_of_inputs"] == found.input_fid > 0


def test_diversity_is_what_the_latents_change(world: Reference) -> None:
    found = measured(lambda latents, given: given + 0.2 * latents[:, :1, None, None], world, "c")
    # The difference of two normal numbers, its mean absolute value, on a range of 2.
    expected = 0.2 * 2**0.5 * (2 / torch.pi) ** 0.5 / 2
    assert found.diversity.estimate == pytest.approx(expected, rel=0.3)
    assert found.diversity.low < expected < found.diversity.high


def test_a_draw_follows_the_held_out_inputs(world: Reference, tmp_path: Path) -> None:
    translator = ImageGenerator(
        Known(lambda _latents, given: given), unet(latent_dim=LATENTS), world.data.image, {"seen_images": 1},
        inputs({"kind": "deblur", "sigma_px": 0.3}),
    )  # fmt: skip
    drawn = draw(translator, "d" * 64, world, OPTIONS)
    images = drawn.images([7, 59], batch_size=2)
    held_out = world.data.test.take(torch.tensor([7, 59]).numpy())
    assert images.shape == (2, SIZE, SIZE, 1)
    assert abs(images.astype(int) - held_out).max() <= 3


def test_a_translator_is_drawn_anew_where_the_held_out_images_are_others(world: Reference, tmp_path: Path) -> None:
    """The features of a champion's translations of earlier images say nothing of new ones."""
    translator = ImageGenerator(
        Known(lambda _latents, given: given), unet(latent_dim=LATENTS), world.data.image, {"seen_images": 1},
        inputs({"kind": "deblur", "sigma_px": 0.3}),
    )  # fmt: skip
    others, fifty = reference(tmp_path, real(120, 1), real(70, 3)), OPTIONS.model_copy(update={"samples": 50})
    found = [draw(translator, "e" * 64, replace(each, cache=tmp_path), fifty) for each in (world, others)]
    assert not torch.equal(found[0].features.values, found[1].features.values)
