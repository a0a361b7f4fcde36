"""What runs tasks: the interface that all executors have."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# Tasks handed out ahead of the one whose result is awaited, for each worker.
AHEAD = 2


class Executor(Protocol):
    """Runs a function over tasks; function, tasks and results are picklable."""

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, after_death: Callable[[Task], Task]
    ) -> Iterator[Result]:
        """Results in the order of the tasks, of which few are taken ahead.

        Args:
            function: what is done with each task; what it raises is raised here.
            tasks: read as they are needed.
            after_death: given a task that killed its process, what to run instead.
        """
