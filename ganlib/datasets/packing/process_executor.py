"""Packing on processes of this machine."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process

from ganlib.datasets.packing.executor import AHEAD, Result, Task


class ProcessExecutor:
    """Processes of this machine.

    A worker that dies (a decoder that crashes, or one that is past its limit
    of time in code that cannot be interrupted) takes nothing with it: what was
    under way is run again, task by task. A task that kills a process that runs
    nothing else is replaced by `after_death`.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "ProcessExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, after_death: Callable[[Task], Task]
    ) -> Iterator[Result]:
        """See `Executor`."""
        running: deque[tuple[Task, Future[Result]]] = deque()
        try:
            for task in tasks:
                running.append((task, self._submit(function, task)))
                if len(running) > AHEAD * self._workers:
                    yield self._first(running, function, after_death)
            while running:
                yield self._first(running, function, after_death)
        finally:
            for _, future in running:
                future.cancel()

    def _first(
        self,
        running: deque[tuple[Task, Future[Result]]],
        function: Callable[[Task], Result],
        after_death: Callable[[Task], Task],
    ) -> Result:
        task, future = running.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            self._abandon()
        while True:
            try:
                result = self._submit(function, task).result()
                break
            except BrokenProcessPool:
                self._abandon()
                task = after_death(task)
        # The others went down with the pool.
        for index, (other, lost) in enumerate(running):
            if lost.cancelled() or lost.exception() is not None:
                running[index] = other, self._submit(function, other)
        return result

    def _submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        try:
            return self._open().submit(function, task)
        except BrokenProcessPool:
            self._abandon()
            return self._open().submit(function, task)

    def _open(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # A fork server starts workers in milliseconds and, unlike fork, copies no threads' locks.
            context = get_context("forkserver")
            context.set_forkserver_preload(["ganlib.datasets.packing.parts"])
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_settle_in, initargs=(dict(os.environ),)
            )
        return self._pool

    def _abandon(self) -> None:
        """Close a broken pool, which would wait for ever for a worker that was started while it broke."""
        assert self._pool is not None
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _settle_in(environment: dict[str, str]) -> None:
    """Take over the environment, of which the fork server knows only what it was; leave when the parent does.

    However that ends: workers would wait for tasks for ever.
    """
    os.environ.clear()
    os.environ.update(environment)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()
