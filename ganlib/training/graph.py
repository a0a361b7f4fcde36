"""Whole iterations replayed as CUDA graphs.

A graph repeats the kernels of an iteration on the addresses that they had when it was captured. So what changes
between iterations, a `Moment`, is written into tensors that stay where they are, and random numbers come from a
generator that is seeded before each replay. What decides which kernels there are, the moment's `Kind`, makes another
graph.

The rules are those of "CUDA semantics: CUDA Graphs" in PyTorch's documentation.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import torch

from ganlib.training.distributed import Ranks
from ganlib.training.inputs import Feed
from ganlib.training.iteration import Iteration
from ganlib.training.moment import Kind, Moment
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState

WARM_UP_ITERATIONS = 3  # libraries choose their kernels and Adam makes its state outside of the graph

Run = Callable[[], None]


class Recorder(Protocol):
    """What turns an iteration into a graph."""

    def aside(self, run: Run) -> None:
        """Run it now, where `record` will capture it."""

    def record(self, run: Run, random: torch.Generator) -> Run:
        """Capture it, which may draw from `random`, without running it; each call of the result runs it."""


class CudaRecorder:
    """CUDA graphs of the current device, in one memory pool: no two run at once, and none needs what another left."""

    def __init__(self) -> None:
        # The same stream for both: autograd remembers on which one a parameter's gradient is accumulated.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def aside(self, run: Run) -> None:
        """Run it on the side stream, between what the current stream did before and what it does after."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            run()
        current.wait_stream(self._stream)

    def record(self, run: Run, random: torch.Generator) -> Run:
        """Capture it; each replay takes the seed that `random` has then."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(random)  # PyTorch's own, which dropout draws from, always is
        # In the stricter mode the threads that read images ahead or watch over NCCL would break the capture.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            run()
        return graph.replay


class GraphedIteration(Iteration):
    """Each kind of iteration as a graph, once it has been run WARM_UP_ITERATIONS times."""

    def __init__(
        self,
        state: TrainState,
        recipe: Recipe,
        feed: Feed,
        ranks: Ranks,
        recorder: Callable[[], Recorder] = CudaRecorder,
    ) -> None:
        super().__init__(state, recipe, feed, ranks)
        self._new_recorder = recorder
        self.forget()

    def launch(self, moment: Moment) -> None:
        """Have the device do its part: by a graph where there is one."""
        kind = moment.kind
        if kind not in self._captured:
            if self._runs[kind] < WARM_UP_ITERATIONS:
                self._runs[kind] += 1
                self._recorder.aside(lambda: self.play(moment.on(self.device)))
                return
            own = moment.on(self.device, copied=True)
            self._captured[kind] = own, self._recorder.record(lambda: self.play(own), self.draws.generator)
            self.draws.begin(moment.before)  # capturing may have drawn
        own, replay = self._captured[kind]
        own.become(moment)
        self.configure(own)  # what a checkpoint tells of the optimisers
        replay()

    def forget(self) -> None:
        """Drop the graphs: they work on tensors that loading may have replaced."""
        self._recorder = self._new_recorder()
        self._runs: Counter[Kind] = Counter()
        self._captured: dict[Kind, tuple[Moment, Run]] = {}


def iteration_of(state: TrainState, recipe: Recipe, feed: Feed, ranks: Ranks) -> Iteration:
    """The iteration as the options want it, on the device where the state is."""
    graphed = recipe.options.cuda_graph and state.sums.is_cuda
    return (GraphedIteration if graphed else Iteration)(state, recipe, feed, ranks)
