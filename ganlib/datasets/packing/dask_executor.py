"""Packing on a Dask cluster."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ganlib.datasets.packing.executor import AHEAD, Executor, Result, Task
from ganlib.errors import UserError

CONNECT_TIMEOUT_S = 10

if TYPE_CHECKING:
    from distributed import Client


class DaskExecutor:
    """Workers of a Dask cluster, which share the project's file system; they run tasks in threads of their own.

    Outside a process's main thread no alarm clock rings, so that
    `data.limits.max_decode_s` has no effect here.
    """

    def __init__(self, client: "Client") -> None:
        self._client = client

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], *, after_death: Callable[[Task], Task]
    ) -> Iterator[Result]:
        """See `Executor`; a task that keeps killing workers ends the work."""
        from distributed import KilledWorker

        running: deque[Any] = deque()
        ahead = AHEAD * max(1, sum(self._client.nthreads().values()))
        try:
            for task in tasks:
                running.append(self._client.submit(function, task, pure=False))
                if len(running) > ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except KilledWorker as error:
            raise UserError(
                f"preprocess.executor=dask: {' '.join(str(error).split())}; a file kills its decoder, find it with "
                "preprocess.executor=processes"
            ) from None
        finally:
            self._client.cancel(list(running))


@contextmanager
def open_dask(address: str | None, workers: int) -> Iterator[Executor]:
    """A running cluster at an address, or one of this machine that ends with the block.

    Raises:
        UserError: Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError(
            "preprocess.executor=dask: Dask is not installed; pip install 'ganlib[dask]', or set it to processes"
        ) from None
    if address is not None:
        try:
            client = Client(address, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise UserError(
                f"preprocess.dask_address={address}: no scheduler answers ({' '.join(str(error).split())}); "
                "start one with `dask scheduler`, or set it to null for a local cluster"
            ) from None
        with client:
            yield DaskExecutor(client)
        return
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield DaskExecutor(client)
