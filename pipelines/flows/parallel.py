"""Several trainings at a time as a Prefect flow, a task each, which is seen on Prefect's pages while it is at work."""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from ganlib.errors import UserError
from pipelines.flows.embedded import HOST, prefect_api
from pipelines.graph.workspace import Say

LOCAL = "local"  # in the place of a scheduler's address: a cluster of our own
# A label for people; what to do, which raises nothing; who hears what that returns, or why it cannot be known.
Submit = Callable[[str, Callable[[], object], Callable[[object], None]], None]

_driver: ContextVar[Callable[[], None]] = ContextVar("driver")


def _drive() -> None:
    _driver.get()()


@flow(name="sweep")
def _sweep() -> None:
    _drive()  # by name: the flow travels to the workers of a cluster, and what it holds travels with it


@task(name="trial", task_run_name="{label}", cache_policy=NO_CACHE)
def _trial(label: str, work: Callable[[], object]) -> object:
    return work()


def run_in_flow(
    project: Path, name: str, parallel: int, drive: Callable[[Submit], None], *, dask: str | None, say: Say
) -> None:
    """Call `drive` within a flow whose tasks it submits.

    Args:
        project: its folder.
        name: of the flow run.
        parallel: tasks at a time.
        drive: submits tasks and gathers what they find; where it raises, it has asked its tasks to end.
        dask: address of a scheduler whose workers see the project's folder under the same path, or `local`, for tasks
            that can be pickled; None: threads, which is enough for tasks that wait for processes.
        say: hears what takes time.

    Raises:
        UserError, ServerFailed: as `prefect_api`, or raised by `drive`; or Dask is not there.
    """
    futures: list[PrefectFuture[object]] = []  # Prefect complains of those that nobody keeps

    def submit(label: str, work: Callable[[], object], done: Callable[[object], None]) -> None:
        def hear(future: PrefectFuture[object]) -> None:
            try:
                found = future.result()
            except Exception as error:
                found = error
            done(found)

        futures.append(_trial.submit(label, work))
        futures[-1].add_done_callback(hear)

    named = _sweep.with_options(flow_run_name=name, task_runner=_runner(dask, parallel))
    _driver.set(lambda: drive(submit))
    with prefect_api(project, say=say):
        named()


def _runner(dask: str | None, parallel: int) -> TaskRunner[Any]:
    if dask is None:
        return ThreadPoolTaskRunner(max_workers=parallel)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise UserError("--dask: needs Prefect's task runner for Dask; pip install 'ganlib[dask]'") from None
    if dask != LOCAL:
        return DaskTaskRunner(address=dask)
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": parallel,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": None,
            "host": HOST,
            "silence_logs": logging.ERROR,
        }
    )
