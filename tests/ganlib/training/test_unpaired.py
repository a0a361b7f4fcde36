"""Two translators without pairs: their losses against the papers' formulae, the history, and that nothing pairs."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from ganlib.config import ImageSpec, RunConfig
from ganlib.datasets.packed.kinds import held_back
from ganlib.datasets.packed.reading import Split, open_packed
from ganlib.degradations import degrade, inputs_of
from ganlib.errors import UserError
from ganlib.networks import CycleCritic, CycleGenerator
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.feeding import SplitFeed
from ganlib.training.gan.cycle import CycleObjective, partly_earlier
from ganlib.training.gan.penalties import Due, Penalties
from ganlib.training.inputs import Inputs, RealBatch, prepared
from ganlib.training.iteration import Iteration
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from pipelines.presets import preset_text
from tests.configs import PAIRED, ROOT, UNPAIRED, tiny_config
from tests.ganlib.datasets.image_files import pack_images
from tests.toy_training import IMAGE

CPU = torch.device("cpu")
NO_PENALTIES = Penalties(0.0, 0.0, 0.0, Due(False, False, False))
LEAST_SQUARES = {**UNPAIRED, "loss.adversarial": "least_squares"}


def setup(**changes: Any) -> tuple[TrainState, Recipe, Inputs]:
    config = tiny_config({**LEAST_SQUARES, **changes})
    images, latents = torch.rand(8, 1, 16, 16) * 2 - 1, torch.randn(2, 8, 4)
    inputs = Inputs(RealBatch(images, None), latents[0], None, None, None, latents[1])
    return initial_state(config, IMAGE, CPU), Recipe.of(config, IMAGE), inputs


def ways(state: TrainState) -> tuple[Any, ...]:
    assert isinstance(state.generator, CycleGenerator)
    assert isinstance(state.critic, CycleCritic)
    return (*state.generator.ways, *state.critic.ways)


def test_the_losses_are_those_of_the_paper() -> None:
    """Zhu et al. 2017, eq. 1 to 3 with squares (section 4), and the identity of section 5.2."""
    state, recipe, inputs = setup()
    objective = CycleObjective(state, recipe)
    to_a, to_b, judge_a, judge_b = ways(state)
    a, b = inputs.real.images[::2], inputs.real.images[1::2]
    others = inputs.other_latents
    assert others is not None
    of_a, of_b = inputs.latents[::2], inputs.latents[1::2]
    fake_a, fake_b = to_a(of_b, b), to_b(of_a, a)
    made = objective.generate(inputs)
    torch.testing.assert_close(made[::2], fake_a)
    torch.testing.assert_close(made[1::2], fake_b)

    found = objective.critic(inputs, made.detach(), NO_PENALTIES)
    expected = torch.zeros(())
    for judge, real, fake in ((judge_a, a, fake_a), (judge_b, b, fake_b)):
        expected = expected + ((judge(real, None) - 1).square() + judge(fake, None).square()).mean() / 2
    torch.testing.assert_close(found.adversarial, expected)
    assert float(found.penalty) == 0

    loss, cycle, identity = objective.generator(inputs, made)
    back = (to_a(others[::2], fake_b) - a).abs().mean() + (to_b(others[1::2], fake_a) - b).abs().mean()
    same = (to_a(of_a, a) - a).abs().mean() + (to_b(of_b, b) - b).abs().mean()
    torch.testing.assert_close(cycle, back.detach() / 2)
    torch.testing.assert_close(identity, same.detach() / 2)
    fooled = (judge_a(fake_a, None) - 1).square().mean() + (judge_b(fake_b, None) - 1).square().mean()
    torch.testing.assert_close(loss, fooled / 2 + 10 * back + same)


def test_what_stands_beside_what_in_a_batch_changes_no_loss() -> None:
    state, recipe, inputs = setup()
    order = torch.tensor([3, 0, 2, 1])
    tensors = [each.clone() for each in (inputs.real.images, inputs.latents, inputs.other_latents) if each is not None]
    for each in tensors:
        each[1::2] = each[1::2][order]
    moved = Inputs(RealBatch(tensors[0], None), tensors[1], None, None, None, tensors[2])
    assert not torch.equal(moved.real.images, inputs.real.images)
    found = []
    for each in (inputs, moved):
        objective = CycleObjective(state, recipe)
        made = objective.generate(each)
        terms = objective.critic(each, made.detach(), NO_PENALTIES)
        found.append(torch.stack([terms.adversarial, *objective.generator(each, made)]))
    torch.testing.assert_close(found[0], found[1])


def test_half_of_the_training_images_are_never_seen_as_they_are() -> None:
    recipe = Recipe.of(tiny_config(UNPAIRED), IMAGE)
    pixels = np.arange(21, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 1), dtype=np.uint8)
    split = Split("train", "", None, [pixels], np.array([0, 21]))
    feed, draws = SplitFeed(split, recipe, ALONE, CPU), Draws(recipe.options, ALONE, CPU)
    seen: tuple[set[int], set[int]] = set(), set()
    assert recipe.inputs is not None
    for seen_images in range(0, 48, 8):
        draws.begin(seen_images)
        batch = prepared(recipe, feed.at(seen_images), draws).images
        assert batch.shape == (8, 1, 16, 16)
        as_they_are = ((batch[:, 0, 0, 0] + 1) * 127.5).round().int()
        seen[0].update(as_they_are[::2].tolist())
        seen[1].update((255 - as_they_are[1::2]).tolist())  # constant images: the negative alone
    assert seen == (set(range(0, 21, 2)), set(range(1, 21, 2)))
    made = degrade(torch.full((1, 1, 16, 16), 0.25), recipe.inputs, torch.empty(1, 0))
    torch.testing.assert_close(made, torch.full((1, 1, 16, 16), -0.25))


def labelled(labels: list[int]) -> Split:
    values = np.array(labels, dtype=np.uint8) * 50
    pixels = values[:, None, None, None] * np.ones((1, 16, 16, 1), dtype=np.uint8)
    return Split("train", "", np.array(labels, dtype=np.int64), [pixels], np.array([0, len(labels)]))


def test_two_classes_take_turns_over_devices_too() -> None:
    config = tiny_config({**UNPAIRED, "data.inputs": {"kind": "classes", "input": "c", "output": "a"}})
    recipe, split = Recipe.of(config, IMAGE), labelled([0, 1, 2, 2, 1, 0, 2, 2])
    whole = SplitFeed(split, recipe, ALONE, CPU).at(8).images
    values = ((whole[:, 0, 0, 0] + 1) * 127.5).round().int()
    assert values.tolist() == [0, 100] * 4
    shares = [SplitFeed(split, recipe, Ranks(rank, 2, rank), CPU).at(8).images for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole)


@pytest.mark.parametrize(
    ("names", "labels", "told"),
    [
        (("c", "z"), [0, 1, 2], "data.inputs.output=z: no such class in data.source, found a, b, c"),
        (("c", "a"), [1, 1, 2], "data.inputs.output=a: the train split has no image of this class"),
    ],
)
def test_classes_that_are_not_there_are_named(names: tuple[str, str], labels: list[int], told: str) -> None:
    inputs = {"kind": "classes", "input": names[0], "output": names[1]}
    recipe = Recipe.of(tiny_config({**UNPAIRED, "data.inputs": inputs}), ImageSpec(**dict(IMAGE)))
    with pytest.raises(UserError, match=told):
        SplitFeed(labelled(labels), recipe, ALONE, CPU)


def numbered(values: list[float]) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 2, 2).clone()


def flat(images: Tensor) -> list[float]:
    return images[:, 0, 0, 0].tolist()


def test_the_history_gives_back_all_that_it_took_and_half_of_what_is_shown_is_earlier() -> None:
    recipe = Recipe.of(tiny_config({"train.batch_size": 8}), IMAGE)
    draws, history = Draws(recipe.options, ALONE, CPU), torch.full((2, 10, 1, 2, 2), torch.nan)
    earlier, shown_at_all = 0, 0
    known: tuple[set[float], set[float]] = set(), set()
    for step in range(200):
        draws.begin(8 * step)
        new = numbered([8.0 * step + place for place in range(8)])
        before = [Counter(value for value in flat(history[way]) if value == value) for way in (0, 1)]
        shown = partly_earlier(history, new, draws)
        for way in (0, 1):
            after = Counter(value for value in flat(history[way]) if value == value)
            told, made = flat(shown[way::2]), flat(new[way::2])
            known[way].update(made)
            assert set(told) <= known[way]  # never an image of the other kind
            if sum(before[way].values()) == 10:
                assert Counter(told) + after == Counter(made) + before[way]
                earlier, shown_at_all = earlier + sum(value not in made for value in told), shown_at_all + len(told)
            elif sum(before[way].values()) == 0:
                assert told == made
                assert sum(after.values()) == 4
    assert earlier / shown_at_all == pytest.approx(0.5, abs=0.05)


class GatheredDraws(Draws):
    """Those of one of two processes, which is told what the other has."""

    def __init__(self, recipe: Recipe, rank: int, whole: Tensor) -> None:
        super().__init__(recipe.options, Ranks(rank, 2, rank), CPU)
        self.whole = whole

    def gathered(self, share: Tensor) -> Tensor:
        assert torch.equal(self.share(self.whole), share)
        return self.whole


def test_all_devices_keep_one_history_and_share_what_is_shown() -> None:
    recipe, new = Recipe.of(tiny_config({"train.batch_size": 8}), IMAGE), numbered([float(place) for place in range(8)])
    start = torch.cat([numbered([10.0, 11, 12, 13])[None], numbered([20.0, 21, 22, 23])[None]])
    alone, whole = start.clone(), Draws(recipe.options, ALONE, CPU)
    whole.begin(0)
    expected = partly_earlier(alone, new, whole)
    for rank in (0, 1):
        history, draws = start.clone(), GatheredDraws(recipe, rank, new)
        draws.begin(0)
        shown = partly_earlier(history, draws.share(new), draws)
        assert torch.equal(shown, draws.share(expected))
        assert torch.equal(history, alone)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"network": "unet"}, "also needs network.family=cyclegan"),
    ({"loss.objective": "gan"}, "network.family=cyclegan.*also needs loss.objective=unpaired"),
    ({"data.inputs": None}, r"also needs data.inputs"),
    ({"train.batch_size": 8, "train.accumulation": 4, "train.devices": 2}, "batch_size=8.*equal parts"),
    ({"train.batch_size": 12, "train.accumulation": 4}, "as many images of each of 2 kinds.*multiple of 8"),
    ({"loss.history_images": 3}, "history_images=3: expected 0, or 4 at least"),
    ({"data.inputs": {"kind": "classes", "input": "a", "output": "a"}}, "expected two classes"),
    ({"data.inputs": {"kind": "classes", "input": "a", "output": "b"}, "data.labels": "none"}, "needs labels"),
    ({"augmentation.critic": {"policy": "diffaugment", "colour": True, "translation": 0.1, "cutout": 0.1}}, "not with"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    wanted = {**UNPAIRED, **changes}
    if changes.get("loss.objective") == "gan":
        wanted = {name: value for name, value in wanted.items() if not name.startswith(("loss.c", "loss.i", "loss.h"))}
    with pytest.raises(ValueError, match=told):
        tiny_config(wanted)


def test_classes_have_no_pairs() -> None:
    with pytest.raises(ValueError, match=r"kind=classes has no pairs, loss\.objective=paired needs them"):
        tiny_config({**PAIRED, "data.inputs": {"kind": "classes", "input": "a", "output": "b"}})


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [0, 3])
def test_the_start_of_the_preset_does_not_collapse(tmp_path: Path, seed: int) -> None:
    """With rates at their full height from the first image on, both of these seeds made one image of all inputs."""
    values = yaml.safe_load(preset_text(ROOT / "presets" / "digits-unpaired.yaml"))
    values["train"] |= {"seed": seed, "threads": 1}
    config = RunConfig.model_validate(values)
    pack_images(config.data.model_copy(update={"source": str(ROOT / config.data.source)}), tmp_path)
    data = open_packed(tmp_path)
    assert config.data.inputs is not None
    learned, other = held_back(data.train, data.image, config.data.inputs, config.train.measure_samples)
    recipe, state = Recipe.of(config, data.image), initial_state(config, data.image, CPU)
    iteration = Iteration(state, recipe, SplitFeed(learned, recipe, ALONE, CPU), ALONE)
    while state.seen_images < 1920:
        iteration.run()
    given = inputs_of(other, np.arange(len(other)), config.data.inputs, seed=0)
    latents = torch.zeros(len(given), state.generator.latent_dim)
    with torch.no_grad():
        made = state.generator(latents, given)
    assert made.std(dim=0).mean() > 0.1 * given.std(dim=0).mean()
