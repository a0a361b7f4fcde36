"""Two translators measured where the answer is known: negatives of the toy world's pictures, and two of its classes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.config import ClassesOptions, InputsOptions, InvertOptions
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Reference, draw
from ganlib.evaluation.pictures import translations
from ganlib.evaluation.record import Translation
from ganlib.evaluation.translation import measure_translation
from ganlib.metrics.reconstruction import HIGHEST_PSNR
from ganlib.networks import CycleGenerator
from ganlib.packaging import ImageGenerator
from tests.evaluations import evaluation
from tests.ganlib.evaluation.test_reconstruction import real
from tests.ganlib.evaluation.test_translation import LATENTS, OPTIONS, Known
from tests.ganlib.networks.test_unet import options as unet
from tests.toy_evaluation import CENTRES, packed, real_images, reference_of

INVERT = InvertOptions(kind="invert", sigma_px=0.1)  # so small that neighbours count for nothing
ANT_TO_BEE = ClassesOptions(kind="classes", input="ant", output="bee")
Made = Callable[[Tensor], Tensor]


def translators(there: Made, back: Made, world: Reference, inputs: InputsOptions) -> ImageGenerator:
    ways = [Known(lambda _latents, given, each=each: each(given)) for each in (there, back)]
    return ImageGenerator(CycleGenerator(ways), unet(latent_dim=LATENTS), world.data.image, {"seen_images": 1}, inputs)


def measured(there: Made, back: Made, world: Reference, inputs: InputsOptions, name: str) -> Translation:
    made = translators(there, back, world, inputs)
    return measure_translation(draw(made, name * 64, world, OPTIONS), world, OPTIONS)


@pytest.fixture(scope="module")
def negatives(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_of(packed(real(120, 1), real(60, 2)), tmp_path_factory.mktemp("features"), INVERT)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("features")
    return reference_of(packed(real_images(300, 1), real_images(200, 2)), folder, ANT_TO_BEE)


def test_the_way_back_of_a_negative_is_its_negative(negatives: Reference) -> None:
    found = measured(lambda given: -given, lambda given: -given, negatives, INVERT, "a")
    there, back = found.ways
    assert (there.made, back.made) == ("images", "inputs")
    assert (there.images, back.images) == (60, 60)
    for way in found.ways:
        assert way.cycle_psnr.estimate == pytest.approx(HIGHEST_PSNR)
        assert way.cycle_error.estimate == 0
        assert way.fid == pytest.approx(0, abs=1e-6)
        assert way.input_fid > 1
    assert there.agreement is not None
    assert there.input_agreement is not None
    assert there.agreement.estimate == 1 > there.agreement.low > 0.9
    assert there.input_agreement.estimate < 0.5
    assert back.cycle_agreement is not None
    assert back.cycle_agreement.estimate == 1
    assert there.cycle_agreement is back.agreement is back.input_agreement is None  # of images that no one has labelled
    assert found.gains["psnr"].made.estimate == pytest.approx(HIGHEST_PSNR)
    figures = evaluation().model_copy(update={"translation": found}).figures()["translation"]
    assert figures["there_agreement"] == figures["back_cycle_agreement"] == 1
    assert figures["there_fid_of_inputs"] == there.input_fid
    assert "back_agreement" not in figures


def test_a_way_back_that_forgets_costs_what_it_forgets(negatives: Reference) -> None:
    found = measured(lambda given: -given, lambda given: torch.zeros_like(given), negatives, INVERT, "b")
    there, back = found.ways
    pixels = negatives.data.test.take(np.arange(60)).astype(float)
    lost = np.abs(255 - pixels - 128).mean() / 255
    assert there.cycle_error.estimate == pytest.approx(lost, abs=0.004)
    assert there.agreement is not None
    assert there.agreement.estimate == 1
    assert back.cycle_agreement is not None
    assert back.cycle_agreement.estimate < 0.6
    assert back.fid > 1


def test_classes_are_compared_with_the_class_that_is_made(classes: Reference) -> None:
    ants, bees = (np.flatnonzero(real_images(200, 2)[1] == label) for label in (0, 1))
    assert len(classes.data.test) == len(bees)
    assert len(classes.given) == len(ants)
    assert np.array_equal(classes.given.take(np.array([3])), real_images(200, 2)[0][ants[3:4]])
    shift = (CENTRES[1] - CENTRES[0]).view(1, 1, 8, 8)
    found = measured(lambda given: given + shift, lambda given: given - shift, classes, ANT_TO_BEE, "c")
    assert found.gains == {}
    assert found.images == len(ants)
    there, back = found.ways
    assert (there.made, there.images, back.made, back.images) == ("bee", len(ants), "ant", len(bees))
    for way in found.ways:
        assert way.agreement is not None
        assert way.input_agreement is not None
        assert way.cycle_agreement is not None
        assert way.agreement.estimate > 0.8 > 0.2 > way.input_agreement.estimate
        assert way.cycle_agreement.estimate > 0.8
        assert way.fid < way.input_fid / 3
        assert way.cycle_psnr.estimate > 40
    drawn = draw(translators(lambda given: given, lambda given: given, classes, ANT_TO_BEE), "d" * 64, classes, OPTIONS)
    assert drawn.count == len(ants)
    assert np.array_equal(drawn.images([5], batch_size=1), classes.given.take(np.array([5])))


def test_a_class_that_is_not_there_is_named(tmp_path: Path) -> None:
    inputs = ANT_TO_BEE.model_copy(update={"output": "dog"})
    with pytest.raises(UserError, match=r"data.inputs.output=dog: no such class in data.source, found ant, bee, cat"):
        reference_of(packed(real_images(30, 1), real_images(30, 2)), tmp_path, inputs)


@pytest.mark.parametrize("kind", ["negatives", "classes"])
def test_the_picture_has_three_rows_a_way(kind: str, request: pytest.FixtureRequest) -> None:
    world: Reference = request.getfixturevalue(kind)
    inputs, columns = (INVERT, 10) if kind == "negatives" else (ANT_TO_BEE, 7)
    made = translators(lambda given: -given, lambda given: -given, world, inputs)
    picture = translations(made, world, seed=1, rows=8, columns=columns, scale=1)
    side = world.data.image.size + 1
    assert picture.shape == (6 * side - 1, columns * side - 1, 1)
    given, there, back = (picture[row * side : row * side + side - 1, : side - 1].astype(int) for row in range(3))
    assert np.array_equal(there, 255 - given)
    assert np.array_equal(back, given)
    again = dataclasses.replace(made)
    assert np.array_equal(translations(again, world, seed=1, rows=8, columns=columns, scale=1), picture)
