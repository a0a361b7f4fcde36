"""Iterations replayed as graphs are the iterations launched operation by operation.

The cases marked gpu capture CUDA graphs. The others replay a tape of the
operations that an iteration launched, as a graph does: with the numbers and
on the tensors of the recording, and anew from the same random generators.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib.config import RunConfig
from ganlib.training import loop
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.graph import WARM_UP_ITERATIONS, CudaRecorder, GraphedIteration, iteration_of
from ganlib.training.inputs import Feed, RealBatch
from ganlib.training.iteration import Iteration, take_mean_figures
from ganlib.training.loop import train
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.showing import Measure
from ganlib.training.state import TrainState, initial_state
from tests.configs import PAIRED, STYLES, UNPAIRED, VAE, tiny_config
from tests.ganlib.training.tape import TapeRecorder
from tests.toy_training import IMAGE, Interrupted, ToyFeed, WholeFeed, brightness, store_of

ITERATIONS = 10
ADA = {
    "policy": "ada",
    "control": {"kind": "adaptive", "target": 0.0, "full_range_images": 64, "every_images": 16},
    **dict.fromkeys(("blit", "geometry", "colour", "noise", "cutout"), 1.0),
}


def falling(start: float) -> dict[str, Any]:
    return {"shape": "linear", "start": start, "end": 0.3 * start, "over_images": 144, "warmup_images": 0}


RATES = {
    "train.generator_optimizer.learning_rate": falling(0.001),
    "train.critic_optimizer.learning_rate": falling(0.0007),
}
R3GAN = {"network": "r3gan", "loss.adversarial": "relativistic"}
CASES: dict[str, dict[str, Any]] = {
    "dcgan hinge": {"train.critic_steps": 2},
    "dcgan in parts, fakes used again": {"train.accumulation": 2, "train.reuse_fakes": True},
    "dcgan with dropout": {"network.critic_dropout": 0.3, "network.critic_norm": "none"},
    "r3gan in fp16": {**R3GAN, "loss.r1.weight": 1.0, "train.precision": "fp16"},
    "dcgan clipped": {"train.critic_optimizer.max_gradient_norm": 0.5, "augmentation.mirror": True},
    "dcgan adaptive": {"augmentation.critic": ADA, "loss.adversarial": "non_saturating"},
    "r3gan": {
        **R3GAN,
        "loss.r1": {"weight": falling(2.0), "every_steps": 1},
        "loss.r2": {"weight": falling(1.0), "every_steps": 1},
    },
    "r3gan lazily": {
        **R3GAN,
        "train.critic_steps": 2,
        "loss.r1": {"weight": falling(2.0), "every_steps": 4},
        "loss.r2": {"weight": 1.0, "every_steps": 2},
    },
    "wgan-gp": {
        "network.critic_norm": "none",
        "loss.adversarial": "wasserstein",
        "loss.gradient_penalty": {"weight": falling(8.0), "every_steps": 1},
    },
    "paired": PAIRED,
    "unpaired": UNPAIRED,
    "styles": STYLES,
    "vae": VAE,
}


RECORDERS = [
    pytest.param("cpu", TapeRecorder, id="tape"),
    pytest.param("cuda", CudaRecorder, id="cuda", marks=pytest.mark.gpu),
]


class FeedOn(WholeFeed):
    """ToyFeed on a device."""

    def __init__(self, config: RunConfig, device: str, stop_after: int | None = None) -> None:
        self.toy, self.device = ToyFeed(config, stop_after), device

    def batch(self, seen_images: int) -> RealBatch:
        batch = self.toy.batch(seen_images)
        return RealBatch(
            batch.images.to(self.device), None if batch.condition is None else batch.condition.to(self.device)
        )


def configured(changes: dict[str, Any], *, cuda_graph: bool) -> RunConfig:
    more = {"train.device": "auto", "train.cuda_graph": cuda_graph, "train.total_images": 8 * ITERATIONS}
    return tiny_config({**RATES, **more, **changes})


def start(config: RunConfig, device: str) -> TrainState:
    if device == "cuda":
        prepare_device(config.train)
    return initial_state(config, IMAGE, torch.device(device))


def agree(one: TrainState, other: TrainState) -> None:
    """Bit for bit: configurations are deterministic."""
    for name in ("generator", "partner", "ema"):
        theirs = getattr(other, name).state_dict()
        for key, value in getattr(one, name).state_dict().items():
            assert torch.equal(value, theirs[key]), f"{name}: {key}"
    assert torch.equal(one.augmentation.probability, other.augmentation.probability)
    assert torch.equal(one.sums, other.sums)
    assert torch.equal(one.image_history.nan_to_num(9), other.image_history.nan_to_num(9))
    for name in ("generator_learner", "partner_learner"):
        rates = [getattr(each, name).optimizer.param_groups[0]["lr"] for each in (one, other)]
        assert torch.equal(*rates), f"{name}: {rates}"


@pytest.mark.parametrize(("device", "recorder"), RECORDERS)
@pytest.mark.parametrize("case", CASES)
def test_graphed_iterations_are_the_eager_ones(case: str, device: str, recorder: Callable[[], Any]) -> None:
    states = []
    for graphed in (False, True):
        config = configured(CASES[case], cuda_graph=graphed)
        recipe, feed = Recipe.of(config, IMAGE), FeedOn(config, device)
        state = start(config, device)
        iteration = (
            GraphedIteration(state, recipe, feed, ALONE, recorder) if graphed else Iteration(state, recipe, feed, ALONE)
        )
        for _ in range(ITERATIONS):
            iteration.run()
        states.append(state)
    agree(*states)
    assert bool(torch.isfinite(take_mean_figures(states[1], ALONE)).all())


def test_a_graph_is_made_for_each_set_of_penalties_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TapeRecorder, "recorded", 0)
    config = configured(CASES["r3gan lazily"], cuda_graph=True)
    feed, state = FeedOn(config, "cpu"), start(config, "cpu")
    iteration = GraphedIteration(state, Recipe.of(config, IMAGE), feed, ALONE, TapeRecorder)
    recorded = []
    for _ in range(2 * WARM_UP_ITERATIONS + 3):
        iteration.run()
        recorded.append(TapeRecorder.recorded)
    # R2 is due in every iteration, R1 in every second one: each kind is recorded after three of its own.
    assert recorded == [0, 0, 0, 0, 0, 0, 1, 2, 2]


def go_on(
    state: TrainState,
    config: RunConfig,
    folder: Path,
    device: str,
    *,
    stop_after: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    train(
        state,
        Recipe.of(config, IMAGE),
        FeedOn(config, device, stop_after),
        Measure("domain/fid", brightness, (1, 1, 1)),
        store_of(config, folder),
        should_stop=should_stop,
    )


@pytest.fixture
def graphed_loop(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have `train` use a recorder also where there is no GPU."""

    def use(recorder: Callable[[], Any]) -> None:
        def chosen(state: TrainState, recipe: Recipe, feed: Feed, ranks: Ranks) -> Iteration:
            if recipe.options.cuda_graph:
                return GraphedIteration(state, recipe, feed, ranks, recorder)
            return iteration_of(state, recipe, feed, ranks)

        monkeypatch.setattr(loop, "iteration_of", chosen)

    return use


@pytest.mark.parametrize(("device", "recorder"), RECORDERS)
def test_resumed_is_uninterrupted(
    device: str,
    recorder: Callable[[], Any],
    graphed_loop: Callable[[Callable[[], Any]], None],
    tmp_path: Path,
) -> None:
    graphed_loop(recorder)
    config = configured(CASES["dcgan adaptive"], cuda_graph=True)
    whole = start(config, device)
    go_on(whole, config, tmp_path / "whole", device)
    with pytest.raises(Interrupted):
        go_on(start(config, device), config, tmp_path / "parts", device, stop_after=56)
    resumed = start(config, device)
    assert store_of(config, tmp_path / "parts").load_latest(resumed, notify=pytest.fail)
    assert resumed.seen_images == 48
    go_on(resumed, config, tmp_path / "parts", device)
    agree(resumed, whole)


@pytest.mark.parametrize(("device", "recorder"), RECORDERS)
def test_graphs_of_before_a_rollback_are_dropped(
    device: str,
    recorder: Callable[[], Any],
    graphed_loop: Callable[[Callable[[], Any]], None],
    tmp_path: Path,
) -> None:
    graphed_loop(recorder)
    states = []
    for graphed in (False, True):
        changes = {**CASES["r3gan"], "train.on_divergence": "rollback", "train.total_images": 8 * 2 * ITERATIONS}
        config = configured(changes, cuda_graph=graphed)
        state, poisoned = start(config, device), []

        def poison(state: TrainState = state, poisoned: list[int] = poisoned) -> bool:
            if state.seen_images == 64 and not poisoned:
                poisoned.append(state.seen_images)
                with torch.no_grad():
                    state.partner_learner.parameters[0].fill_(torch.nan)
            return False

        go_on(state, config, tmp_path / str(graphed), device, should_stop=poison)
        assert (state.rollbacks, state.rate_scale) == (1, 0.5)
        states.append(state)
    agree(*states)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"train.critic_optimizer.beta2": {**falling(0.5)}},
            "train.critic_optimizer.beta2 to be a constant, found a schedule",
        ),
        (
            {"train.generator_optimizer.beta1": {**falling(0.5)}},
            "train.generator_optimizer.beta1 to be a constant, found a schedule",
        ),
    ],
)
def test_what_no_graph_holds_is_refused_by_name(changes: dict[str, Any], line: str) -> None:
    configured(changes, cuda_graph=False)
    with pytest.raises(ValueError, match=r"train\.cuda_graph=true needs ") as caught:
        configured(changes, cuda_graph=True)
    assert f"{line}; change it or set train.cuda_graph to false" in str(caught.value)


def test_without_a_gpu_or_the_option_iterations_are_eager() -> None:
    config = configured({}, cuda_graph=True)
    state, recipe = start(config, "cpu"), Recipe.of(config, IMAGE)
    assert type(iteration_of(state, recipe, FeedOn(config, "cpu"), ALONE)) is Iteration


@pytest.mark.gpu
def test_with_a_gpu_iterations_are_graphed() -> None:
    for graphed, kind in ((False, Iteration), (True, GraphedIteration)):
        config = configured({}, cuda_graph=graphed)
        state, recipe = start(config, "cuda"), Recipe.of(config, IMAGE)
        assert type(iteration_of(state, recipe, FeedOn(config, "cuda"), ALONE)) is kind
