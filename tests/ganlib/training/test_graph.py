"""Steps replayed as graphs are the steps taken one by one.

The cases marked gpu capture CUDA graphs. The others replay a tape of the
operations that a step launched, as a graph does: with the numbers and on
the tensors of the recording.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganlib.config import RunConfig
from ganlib.errors import UserError
from ganlib.training import loop
from ganlib.training.distributed import ALONE, Ranks
from ganlib.training.graph import WARM_UP_STEPS, CudaRecorder, EagerSteps, GraphedSteps, Run, Steps, steps_of
from ganlib.training.inputs import RealBatch
from ganlib.training.iteration import iterate, take_mean_figures
from ganlib.training.loop import Measure, train
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState, initial_state
from tests.configs import tiny_config
from tests.toy_training import IMAGE, Interrupted, ToyFeed, brightness, store_of

ITERATIONS = 10
ADA = {
    "policy": "ada",
    "control": {"kind": "adaptive", "target": 0.0, "full_range_images": 64, "every_images": 16},
    **dict.fromkeys(("blit", "geometry", "colour", "noise", "cutout"), 1.0),
}


def falling(start: float) -> dict[str, Any]:
    """A schedule whose values float32 holds exactly, so that tensors and numbers can be compared bit for bit."""
    return {"shape": "linear", "start": start, "end": start / 2, "over_images": 128, "warmup_images": 0}


RATES = {
    "train.generator_optimizer.learning_rate": falling(2.0**-10),
    "train.critic_optimizer.learning_rate": falling(2.0**-11),
}
R3GAN = {"network": "r3gan", "loss.adversarial": "relativistic"}
CASES: dict[str, dict[str, Any]] = {
    "dcgan hinge": {"train.critic_steps": 2},
    "dcgan clipped": {"train.critic_optimizer.max_gradient_norm": 0.5, "augmentation.mirror": True},
    "dcgan adaptive": {"augmentation.critic": ADA, "loss.adversarial": "non_saturating"},
    "r3gan": {
        **R3GAN,
        "loss.r1": {"weight": falling(2.0), "every_steps": 1},
        "loss.r2": {"weight": falling(1.0), "every_steps": 1},
    },
    "r3gan lazily": {
        **R3GAN,
        "loss.r1": {"weight": falling(2.0), "every_steps": 2},
        "loss.r2": {"weight": 1.0, "every_steps": 2},
    },
    "wgan-gp": {
        "network.critic_norm": "none",
        "loss.adversarial": "wasserstein",
        "loss.gradient_penalty": {"weight": falling(8.0), "every_steps": 1},
    },
}


class Tape(TorchDispatchMode):
    """Notes every operation, and what each tensor was before the first operation that changed it."""

    # Each would wait for the device, copy from the host, or draw random numbers.
    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "nonzero", "bernoulli", "native_dropout", "rand", "normal_")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Any]]] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        assert not name.startswith(self.FORBIDDEN), f"{name} in a step that is to be captured"
        if func._schema.is_mutable or name == "native_batch_norm":  # which does not own up to its running statistics
            for tensor in tensors((args, kwargs)):
                self.before.setdefault(id(tensor), (tensor, tensor.clone()))
        results = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, tensors(results)))
        return results

    def undo(self) -> None:
        for tensor, value in reversed(self.before.values()):
            tensor.copy_(value)

    def replay(self) -> None:
        for func, args, kwargs, results in self.operations:
            for noted, found in zip(results, tensors(func(*args, **kwargs)), strict=True):
                if noted.data_ptr() != found.data_ptr():  # else a view, or changed in place
                    noted.copy_(found)


def tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class TapeRecorder:
    """What a CUDA graph does, on any device."""

    recorded = 0

    def aside(self, run: Run) -> torch.Tensor:
        return run()

    def record(self, run: Run) -> Run:
        type(self).recorded += 1
        with Tape() as tape:
            result = run()
        with torch.no_grad():
            tape.undo()

        @torch.no_grad()
        def replay() -> torch.Tensor:
            tape.replay()
            return result.detach()

        return replay


RECORDERS = [
    pytest.param("cpu", TapeRecorder, id="tape"),
    pytest.param("cuda", CudaRecorder, id="cuda", marks=pytest.mark.gpu),
]


class Feed:
    """ToyFeed on a device."""

    def __init__(self, config: RunConfig, device: str, stop_after: int | None = None) -> None:
        self.toy, self.device = ToyFeed(config, stop_after), device

    def at(self, seen_images: int) -> RealBatch:
        batch = self.toy.at(seen_images)
        return RealBatch(batch.images.to(self.device), None if batch.labels is None else batch.labels.to(self.device))


def configured(changes: dict[str, Any], *, cuda_graph: bool) -> RunConfig:
    more = {"train.device": "auto", "train.cuda_graph": cuda_graph, "train.total_images": 8 * ITERATIONS}
    return tiny_config({**RATES, **more, **changes})


def start(config: RunConfig, device: str) -> TrainState:
    if device == "cuda":
        prepare_device(config.train)
    return initial_state(config, IMAGE, torch.device(device))


def agree(one: TrainState, other: TrainState, device: str) -> None:
    """Bit for bit on a CPU; on a GPU to rounding."""
    rounding = {"rtol": 0.0, "atol": 0.0} if device == "cpu" else {"rtol": 1e-3, "atol": 1e-4}
    for name in ("generator", "critic", "ema"):
        theirs = getattr(other, name).state_dict()
        for key, value in getattr(one, name).state_dict().items():
            torch.testing.assert_close(value, theirs[key], **rounding, msg=lambda text, k=key: f"{k}: {text}")
    torch.testing.assert_close(one.augmentation.probability, other.augmentation.probability, **rounding)
    torch.testing.assert_close(one.sums, other.sums, rtol=rounding["rtol"], atol=10 * rounding["atol"])


@pytest.mark.parametrize(("device", "recorder"), RECORDERS)
@pytest.mark.parametrize("case", CASES)
def test_graphed_steps_are_the_eager_ones(case: str, device: str, recorder: Callable[[], Any]) -> None:
    states = []
    for graphed in (False, True):
        config = configured(CASES[case], cuda_graph=graphed)
        state, recipe = start(config, device), Recipe.of(config, IMAGE)
        steps = GraphedSteps(state, recipe, ALONE, recorder) if graphed else EagerSteps(state, recipe, ALONE)
        for _ in range(ITERATIONS):
            iterate(state, recipe, Feed(config, device), ALONE, steps)
        states.append(state)
    agree(*states, device)
    assert bool(torch.isfinite(take_mean_figures(states[1], ALONE)).all())


def test_a_graph_is_made_for_each_set_of_penalties_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TapeRecorder, "recorded", 0)
    config = configured(CASES["r3gan lazily"], cuda_graph=True)
    state, recipe = start(config, "cpu"), Recipe.of(config, IMAGE)
    steps = GraphedSteps(state, recipe, ALONE, TapeRecorder)
    recorded = []
    for _ in range(2 * WARM_UP_STEPS + 3):
        iterate(state, recipe, Feed(config, "cpu"), ALONE, steps)
        recorded.append(TapeRecorder.recorded)
    # The generator's after three steps of its own, the critic's after three of each of its two kinds.
    assert recorded == [0, 0, 0, 1, 1, 1, 2, 3, 3]


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
        Feed(config, device, stop_after),
        Measure("domain/fid", brightness, (1, 1, 1)),
        store_of(config, folder),
        should_stop=should_stop,
    )


@pytest.fixture
def graphed_loop(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have `train` use a recorder also where there is no GPU."""

    def use(recorder: Callable[[], Any]) -> None:
        def chosen(state: TrainState, recipe: Recipe, ranks: Ranks) -> Steps:
            if recipe.options.cuda_graph:
                return GraphedSteps(state, recipe, ranks, recorder)
            return steps_of(state, recipe, ranks)

        monkeypatch.setattr(loop, "steps_of", chosen)

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
    agree(resumed, whole, device)


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
                    state.critic_learner.parameters[0].fill_(torch.nan)
            return False

        go_on(state, config, tmp_path / str(graphed), device, should_stop=poison)
        assert (state.rollbacks, state.rate_scale) == (1, 0.5)
        states.append(state)
    agree(*states, device)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"train.precision": "fp16"}, "train.precision to be fp32, tf32 or bf16, found fp16"),
        ({"train.accumulation": 2}, "train.accumulation to be 1, found 2"),
        ({"train.devices": 2}, "train.devices to be 1, found 2"),
        ({"train.devices": "auto"}, "train.devices to be 1, found auto"),
        ({"train.compile": True}, "train.compile to be false, found true"),
        (
            {"train.critic_optimizer.beta2": {**falling(0.5)}},
            "train.critic_optimizer.beta2 to be a constant, found a schedule",
        ),
        (
            {"train.generator_optimizer.beta1": {**falling(0.5)}},
            "train.generator_optimizer.beta1 to be a constant, found a schedule",
        ),
        ({"network.critic_dropout": 0.1}, "network.critic_dropout to be 0, found 0.1"),
        ({"network": "mlp"}, "network.critic_dropout to be 0, found 0.1"),
    ],
)
def test_what_no_graph_holds_is_refused_by_name(changes: dict[str, Any], line: str) -> None:
    configured(changes if "train.precision" not in changes else {}, cuda_graph=False)
    with pytest.raises(ValueError, match=r"train\.cuda_graph=true needs ") as caught:
        configured(changes, cuda_graph=True)
    assert f"{line}; change it or set train.cuda_graph to false" in str(caught.value)


def test_without_a_gpu_or_the_option_steps_are_eager() -> None:
    config = configured({}, cuda_graph=True)
    recipe = Recipe.of(config, IMAGE)
    assert type(steps_of(start(config, "cpu"), recipe, ALONE)) is EagerSteps


@pytest.mark.gpu
def test_with_a_gpu_steps_are_graphed_in_one_process_alone() -> None:
    for graphed, kind in ((False, EagerSteps), (True, GraphedSteps)):
        config = configured({}, cuda_graph=graphed)
        assert type(steps_of(start(config, "cuda"), Recipe.of(config, IMAGE), ALONE)) is kind
    with pytest.raises(UserError, match=r"^train\.cuda_graph=true: needs one process, found 2; set it to false$"):
        steps_of(start(config, "cuda"), Recipe.of(config, IMAGE), Ranks(0, 2, 0))
