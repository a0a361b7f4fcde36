"""One translator into several styles: its losses against the paper's formulae, and that each image has one style."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ganlib.config import DegradedStylesOptions
from ganlib.datasets.packed.reading import Split
from ganlib.degradations import degrade
from ganlib.errors import UserError
from ganlib.networks import StarCritic, StarGenerator
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.feeding import SplitFeed
from ganlib.training.gan.styles import StylesObjective
from ganlib.training.inputs import Inputs, RealBatch, draw_inputs, prepared
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from tests.configs import STYLES, UNPAIRED, tiny_config
from tests.ganlib.training.test_unpaired import CPU, NO_PENALTIES, labelled
from tests.toy_training import IMAGE

CLASS_STYLES = {**STYLES, "data.inputs": {"kind": "class_styles", "classes": ["c", "a", "b"]}, "network.styles": 3}
OWN = torch.arange(8) % 4


def setup(**changes: Any) -> tuple[TrainState, Recipe, Inputs]:
    config = tiny_config({**STYLES, "loss.adversarial": "least_squares", **changes})
    images, latents = torch.rand(8, 1, 16, 16) * 2 - 1, torch.randn(2, 8, 4)
    targets = (OWN + torch.tensor([1, 2, 3, 1, 2, 3, 1, 2])) % 4
    inputs = Inputs(RealBatch(images, None), latents[0], None, None, None, latents[1], targets)
    return initial_state(config, IMAGE, CPU), Recipe.of(config, IMAGE), inputs


def test_the_losses_are_those_of_the_paper() -> None:
    """Choi et al. 2018, eq. 2 to 6 with squares in the place of eq. 1, each style by the way that users ask for."""
    state, recipe, inputs = setup(**{"loss.style_weight": 0.7})
    generator, critic = state.generator, state.critic
    assert isinstance(generator, StarGenerator)
    assert isinstance(critic, StarCritic)
    objective, real = StylesObjective(state, recipe), inputs.real.images
    assert inputs.targets is not None
    assert inputs.other_latents is not None
    made = objective.generate(inputs)
    expected = [
        generator.way(style)(latent[None], image[None])[0]
        for style, latent, image in zip(inputs.targets.tolist(), inputs.latents, real, strict=True)
    ]
    torch.testing.assert_close(made, torch.stack(expected))

    found = objective.critic(inputs, made.detach(), NO_PENALTIES)
    game = ((critic(real, None) - 1).square() + critic(made, None).square()).mean() / 2
    told = -F.log_softmax(critic.style(critic.embed(real, None)), dim=1)[range(8), OWN].mean()
    torch.testing.assert_close(found.adversarial, game + 0.7 * told)

    loss, cycle, style = objective.generator(inputs, made)
    back = [
        generator.way(own)(latent[None], image[None])[0]
        for own, latent, image in zip(OWN.tolist(), inputs.other_latents, made, strict=True)
    ]
    returned = (torch.stack(back) - real).abs().mean()
    taken = -F.log_softmax(critic.styles(made), dim=1)[range(8), inputs.targets].mean()
    torch.testing.assert_close(cycle, returned.detach())
    torch.testing.assert_close(style, taken.detach())
    fooled = (critic(made, None) - 1).square().mean() / 2
    torch.testing.assert_close(loss, fooled + 0.7 * taken + 10 * returned)


def test_an_image_is_asked_for_each_style_but_its_own() -> None:
    recipe = Recipe.of(tiny_config(STYLES), IMAGE)
    draws, real = Draws(recipe.options, ALONE, CPU), RealBatch(torch.zeros(8, 1, 16, 16), None)
    steps = torch.zeros(4)
    for seen_images in range(0, 8 * 300, 8):
        draws.begin(seen_images)
        targets = draw_inputs(recipe, real, 4, draws, mixed=False).targets
        assert targets is not None
        steps += torch.bincount((targets - OWN) % 4, minlength=4)
    assert steps[0] == 0
    assert (steps[1:] / 2400).tolist() == pytest.approx([1 / 3] * 3, abs=0.04)


def test_every_training_image_is_seen_in_one_style_alone() -> None:
    recipe = Recipe.of(tiny_config(STYLES), IMAGE)
    pixels = np.arange(22, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 1), dtype=np.uint8)
    feed = SplitFeed(Split("train", "", None, [pixels], np.array([0, 22])), recipe, ALONE, CPU)
    draws = Draws(recipe.options, ALONE, CPU)
    seen: tuple[set[int], set[int], set[int]] = set(), set(), set()
    for seen_images in range(0, 96, 8):
        draws.begin(seen_images)
        levels = (prepared(recipe, feed.at(seen_images), draws).images.mean(dim=(1, 2, 3)) + 1) * 127.5
        seen[0].update(levels[0::4].round().int().tolist())
        seen[1].update((255 - levels[1::4]).round().int().tolist())  # constant images: the negative alone
        seen[2].update(levels[2::4].round().int().tolist())
    assert seen == (set(range(0, 22, 4)), set(range(1, 22, 4)), set(range(2, 22, 4)))


def test_each_style_is_made_as_it_is_called() -> None:
    recipe = Recipe.of(tiny_config(STYLES), IMAGE)
    draws, real = Draws(recipe.options, ALONE, CPU), RealBatch(torch.rand(8, 1, 16, 16) * 2 - 1, None)
    draws.begin(0)
    made = prepared(recipe, real, draws).images
    _, negative, blurred, _ = range(4)
    assert isinstance(recipe.inputs, DegradedStylesOptions)
    styles = [style.degradation for style in recipe.inputs.styles]
    nothing = torch.empty(2, 0)
    assert torch.equal(made[::4], real.images[::4])
    for place in (negative, blurred):
        torch.testing.assert_close(made[place::4], degrade(real.images[place::4], styles[place - 1], nothing))
    noise = made[3::4] - real.images[3::4]
    assert float(noise.std()) == pytest.approx(0.3, abs=0.05)


def test_classes_take_turns_over_devices_too() -> None:
    recipe = Recipe.of(tiny_config({**CLASS_STYLES, "train.batch_size": 12}), IMAGE)
    split = labelled([0, 1, 2, 2, 1, 0, 2, 2])
    whole = SplitFeed(split, recipe, ALONE, CPU).at(12).images
    assert ((whole[:, 0, 0, 0] + 1) * 127.5).round().int().tolist() == [100, 0, 50] * 4
    shares = [SplitFeed(split, recipe, Ranks(rank, 2, rank), CPU).at(12).images for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole)


def test_too_few_images_for_the_styles_are_told() -> None:
    recipe = Recipe.of(tiny_config(STYLES), IMAGE)
    with pytest.raises(UserError, match="found 3 train images, expected 4 at least, one of each kind"):
        SplitFeed(labelled([0, 1, 2]), recipe, ALONE, CPU)


BLUR = {"kind": "deblur", "sigma_px": 1.0}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"network": "unet"}, "also needs network.family=stargan"),
    ({"network.styles": 3}, r"network.styles=3: data.inputs has 4 \(images, negative, blurred, noisy\)"),
    ({"data.inputs": None}, "also needs data.inputs"),
    ({"data.inputs": UNPAIRED["data.inputs"]}, "kinds styles and class_styles go with the objective styles"),
    ({"data.inputs.styles": [{"name": "images", "degradation": BLUR}]}, "images is the name of images as they are"),
    ({"data.inputs.styles": [{"name": "soft", "degradation": BLUR}] * 2}, "soft is there twice"),
    ({"data.inputs.styles": []}, "at least 1 item"),
    ({"train.batch_size": 12, "train.accumulation": 2}, "as many images of each of 4 kinds.*multiple of 8"),
    ({"data.inputs": {"kind": "class_styles", "classes": ["a", "a"]}}, "a is there twice"),
    ({"data.inputs": {"kind": "class_styles", "classes": ["a"]}}, "at least 2 items"),
    ({**CLASS_STYLES, "data.labels": "none", "train.batch_size": 6}, "needs labels, found data.labels=none"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tiny_config({**STYLES, **changes})


def test_styles_go_with_their_own_objective_alone() -> None:
    with pytest.raises(ValueError, match="kinds styles and class_styles go with the objective styles"):
        tiny_config({**UNPAIRED, "data.inputs": STYLES["data.inputs"]})
