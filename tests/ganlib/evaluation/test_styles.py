"""A translator into several styles measured where the answer is known: classes of the toy world, and negatives."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib.config import ClassStylesOptions, DegradedStylesOptions, InputsOptions
from ganlib.degradations import degraded_rows
from ganlib.evaluation.drawing import Reference, draw
from ganlib.evaluation.pictures import translations
from ganlib.evaluation.record import Translation
from ganlib.evaluation.translation import measure_translation
from ganlib.networks import ManyWays, build_generator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import from_uint8, to_uint8
from tests.configs import STYLES, tiny_config
from tests.evaluations import evaluation
from tests.ganlib.evaluation.test_reconstruction import real
from tests.ganlib.evaluation.test_translation import LATENTS, OPTIONS, Known
from tests.ganlib.networks.test_unet import options as unet
from tests.toy_evaluation import CENTRES, PIXELS, packed, real_images, reference_of

CLASSES = ClassStylesOptions(kind="class_styles", classes=("bee", "ant", "cat"))
DEGRADED = DegradedStylesOptions.model_validate(
    {
        "kind": "styles",
        "styles": [
            {"name": "negative", "degradation": {"kind": "invert", "sigma_px": 0.1}},
            {"name": "blurred", "degradation": {"kind": "deblur", "sigma_px": 2.0}},
        ],
    }
)
PLACES = (1, 0, 2)  # of the styles' classes among the world's
Made = Callable[[Tensor], Tensor]


class Styled(ManyWays):
    """A translator whose ways are known."""

    def __init__(self, ways: Sequence[Made]) -> None:
        super().__init__(latent_dim=LATENTS, num_ways=len(ways))
        self.ways = torch.nn.ModuleList(Known(lambda _latents, given, each=each: each(given)) for each in ways)

    def way(self, index: int) -> Known:
        chosen = self.ways[index]
        assert isinstance(chosen, Known)
        return chosen


def translator(ways: Sequence[Made], world: Reference, inputs: InputsOptions) -> ImageGenerator:
    return ImageGenerator(Styled(ways), unet(latent_dim=LATENTS), world.data.image, {"seen_images": 1}, inputs)


def measured(ways: Sequence[Made], world: Reference, inputs: InputsOptions, name: str) -> Translation:
    return measure_translation(draw(translator(ways, world, inputs), name * 64, world, OPTIONS), world, OPTIONS)


def to_class(place: int) -> Made:
    """From the class whose centre is nearest."""

    def moved(given: Tensor) -> Tensor:
        nearest = torch.cdist(given.reshape(-1, PIXELS), CENTRES).argmin(dim=1)
        return given + (CENTRES[place] - CENTRES[nearest]).view(-1, 1, 8, 8)

    return moved


def test_each_class_is_made_of_all_others_and_goes_back_to_its_own(tmp_path: Path) -> None:
    world = reference_of(packed(real_images(300, 1), real_images(210, 2)), tmp_path, CLASSES)
    labels = real_images(210, 2)[1]
    found = measured([to_class(place) for place in PLACES], world, CLASSES, "a")
    assert found.gains == {}
    assert [way.made for way in found.ways] == ["bee", "ant", "cat"]
    assert [way.images for way in found.ways] == [int((labels != place).sum()) for place in PLACES]
    for way in found.ways:
        assert way.agreement is not None
        assert way.input_agreement is not None
        assert way.style_agreement is not None
        assert way.real_style_agreement is not None
        assert way.agreement.estimate > 0.8 > 0.3 > way.input_agreement.estimate
        assert way.style_agreement.estimate > 0.75
        assert way.real_style_agreement.estimate > 0.75
        assert way.fid < way.input_fid / 3
        assert way.cycle_error.estimate < 0.02
    stuck = measured([to_class(place) for place in (1, 1, 2)], world, CLASSES, "b")
    assert stuck.ways[1].agreement is not None
    assert stuck.ways[1].style_agreement is not None
    assert max(stuck.ways[1].agreement.estimate, stuck.ways[1].style_agreement.estimate) < 0.25
    figures = evaluation().model_copy(update={"translation": found}).figures()["translation"]
    assert figures["way_2_style_agreement"] == found.ways[2].style_agreement.estimate  # type: ignore[union-attr]


def test_images_made_worse_are_given_in_the_other_styles_in_turns(tmp_path: Path) -> None:
    """By ways that keep a quarter of what they see: what comes back is known, and so is by how much it is wrong."""
    world = reference_of(packed(real(120, 1), real(60, 2)), tmp_path, DEGRADED)
    ways = [lambda given, level=level: level + given / 4 for level in (-0.5, 0.0, 0.5)]
    found = measured(ways, world, DEGRADED, "c")
    rows = np.arange(60)
    pictures = world.data.test.take(rows)
    styled = [from_uint8(pictures)]
    styled += [degraded_rows(pictures, rows, style.degradation, seed=0) for style in DEGRADED.styles]
    for way, measure in enumerate(found.ways):
        others = [kind for kind in range(3) if kind != way]
        wrong = []
        for row in rows:
            own = others[row % 2]
            start = styled[own][row : row + 1]
            back = to_uint8(ways[own](from_uint8(to_uint8(ways[way](start)))))
            wrong.append(np.abs(to_uint8(start).astype(float) - back).mean() / 255)
        assert measure.cycle_error.estimate == pytest.approx(np.mean(wrong), abs=1e-6)
    assert found.ways[0].agreement is not None
    assert found.ways[0].cycle_agreement is None  # of images that no one has labelled
    assert found.ways[1].agreement is None
    assert found.ways[1].cycle_agreement is not None
    drawn = draw(translator([lambda given: given] * 3, world, DEGRADED), "d" * 64, world, OPTIONS)
    expected = to_uint8(torch.stack([styled[1][4], styled[2][7]]))
    assert np.array_equal(drawn.images([4, 7], batch_size=2), expected)


def test_the_picture_has_a_row_for_each_style(tmp_path: Path) -> None:
    config = tiny_config(STYLES)
    world = reference_of(packed(real(60, 1), real(30, 2)), tmp_path, config.data.inputs)
    network = build_generator(config.network, world.data.image)
    made = ImageGenerator(network, config.network, world.data.image, {"seen_images": 1}, config.data.inputs)
    picture = translations(made, world, seed=1, rows=8, columns=7, scale=1)
    side = world.data.image.size + 1
    assert picture.shape == (5 * side - 1, 7 * side - 1, 1)
