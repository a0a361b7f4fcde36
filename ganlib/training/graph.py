"""The two steps of an iteration: launched operation by operation, or replayed as CUDA graphs.

A graph repeats the kernels of one step on the addresses that they had when
it was captured. So what changes between steps is written into tensors that
stay where they are: the inputs, the factors of the penalties, the learning
rate, the probability of augmentation. What decides which kernels there are,
here which penalties are due, makes another graph.

The rules are those of "CUDA semantics: CUDA Graphs" in PyTorch's documentation.
"""

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ganlib.errors import UserError
from ganlib.training.distributed import Ranks
from ganlib.training.inputs import Inputs
from ganlib.training.objective import Due, Penalties, penalties_at
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState
from ganlib.training.step import critic_step, generator_step

WARM_UP_STEPS = 3  # libraries choose their kernels and Adam makes its state outside of the graph
NO_PENALTIES = Penalties(0.0, 0.0, 0.0, Due(False, False, False))

Run = Callable[[], Tensor]
Step = Callable[[Inputs, Penalties], Tensor]


class Steps(ABC):
    """How one state takes its steps."""

    @abstractmethod
    def critic(self, inputs: Inputs) -> Tensor:
        """As `critic_step`."""

    @abstractmethod
    def generator(self, inputs: Inputs) -> Tensor:
        """As `generator_step`."""

    @abstractmethod
    def forget(self) -> None:
        """To be called after the state has loaded another's values."""


class EagerSteps(Steps):
    """One operation after another."""

    def __init__(self, state: TrainState, recipe: Recipe, ranks: Ranks) -> None:
        self._state, self._recipe, self._ranks = state, recipe, ranks
        self._fakes: list[Tensor] = []

    def critic(self, inputs: Inputs) -> Tensor:
        """As `critic_step`."""
        self._fakes = []
        kept = self._fakes if self._recipe.options.reuse_fakes else None
        return critic_step(self._state, self._recipe, inputs, self._ranks, fakes=kept)

    def generator(self, inputs: Inputs) -> Tensor:
        """As `generator_step`."""
        fakes, self._fakes = self._fakes, []
        return generator_step(self._state, self._recipe, inputs, self._ranks, fakes=fakes)

    def forget(self) -> None:
        """Nothing is kept from one iteration to the next."""


class Recorder(Protocol):
    """What turns a step into a graph."""

    def aside(self, run: Run) -> Tensor:
        """Run it now, where `record` will capture it."""

    def record(self, run: Run) -> Run:
        """Capture it without running it; each call of the result runs it on the same tensors."""


class CudaRecorder:
    """CUDA graphs of the current device, in one memory pool: no two run at once, and none needs what another left."""

    def __init__(self) -> None:
        # The same stream for both: autograd remembers on which one a parameter's gradient is accumulated.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def aside(self, run: Run) -> Tensor:
        """Run it on the side stream, between what the current stream did before and what it does after."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = run()
        current.wait_stream(self._stream)
        return result

    def record(self, run: Run) -> Run:
        """Capture it; the tensor that the result returns is overwritten by every graph of this pool."""
        graph = torch.cuda.CUDAGraph()
        # In the stricter mode the thread that reads images ahead would break the capture by pinning memory.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = run()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


class GraphedSteps(Steps):
    """Each step as a graph, once it has been taken WARM_UP_STEPS times."""

    def __init__(
        self, state: TrainState, recipe: Recipe, ranks: Ranks, recorder: Callable[[], Recorder] = CudaRecorder
    ) -> None:
        self._state, self._recipe, self._ranks, self._new_recorder = state, recipe, ranks, recorder
        self.forget()

    def critic(self, inputs: Inputs) -> Tensor:
        """As `critic_step`."""

        def step(inputs: Inputs, penalties: Penalties) -> Tensor:
            return critic_step(self._state, self._recipe, inputs, self._ranks, penalties=penalties)

        penalties = penalties_at(self._recipe, self._state.seen_images)
        return self._take(_Structure("critic", penalties.due), step, inputs, penalties)

    def generator(self, inputs: Inputs) -> Tensor:
        """As `generator_step`."""

        def step(inputs: Inputs, _penalties: Penalties) -> Tensor:
            return generator_step(self._state, self._recipe, inputs, self._ranks)

        return self._take(_Structure("generator", NO_PENALTIES.due), step, inputs, NO_PENALTIES)

    def forget(self) -> None:
        """Drop the graphs: they work on tensors that loading may have replaced."""
        self._recorder = self._new_recorder()
        self._taken: Counter[_Structure] = Counter()
        self._captured: dict[_Structure, _Captured] = {}

    def _take(self, structure: "_Structure", step: Step, inputs: Inputs, penalties: Penalties) -> Tensor:
        if structure not in self._captured:
            if self._taken[structure] < WARM_UP_STEPS:
                self._taken[structure] += 1
                return self._recorder.aside(lambda: step(inputs, penalties))
            self._captured[structure] = _Captured(step, inputs, penalties, self._recorder)
        return self._captured[structure].take(inputs, penalties)


def steps_of(state: TrainState, recipe: Recipe, ranks: Ranks) -> Steps:
    """The steps as the options want them, on the device where the state is.

    Raises:
        UserError: a CUDA graph is wanted of one process of several.
    """
    if not (recipe.options.cuda_graph and state.sums.is_cuda):
        return EagerSteps(state, recipe, ranks)
    if ranks.size > 1:
        raise UserError(f"train.cuda_graph=true: needs one process, found {ranks.size}; set it to false")
    return GraphedSteps(state, recipe, ranks)


class _Structure(NamedTuple):
    """What decides which kernels a step launches, and in what order."""

    name: str
    due: Due


class _Captured:
    """One step as a graph, and the tensors that it reads."""

    def __init__(self, step: Step, inputs: Inputs, penalties: Penalties, recorder: Recorder) -> None:
        own = copy.deepcopy(inputs)
        device = inputs.latents.device
        self._factors = [torch.zeros((), device=device) for _ in _factors(penalties)]
        r1, r2, gradient_penalty = self._factors
        own_penalties = Penalties(r1, r2, gradient_penalty, penalties.due)
        self._inputs = _tensors(own)
        self._run = recorder.record(lambda: step(own, own_penalties))

    def take(self, inputs: Inputs, penalties: Penalties) -> Tensor:
        """One step with these values; its figures."""
        for own, given in zip(self._inputs, _tensors(inputs), strict=True):
            own.copy_(given, non_blocking=True)
        if any(penalties.due):
            for own, value in zip(self._factors, _factors(penalties), strict=True):
                own.fill_(value)
        return self._run().clone()


def _factors(penalties: Penalties) -> tuple[float | Tensor, float | Tensor, float | Tensor]:
    return penalties.r1, penalties.r2, penalties.gradient_penalty


def _tensors(inputs: Inputs) -> list[Tensor]:
    real = inputs.real
    every = (real.images, real.labels, inputs.latents, inputs.real_draws, inputs.fake_draws, inputs.mixing)
    return [each for each in every if each is not None]
