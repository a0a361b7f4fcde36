"""Several trainings at a time as a Prefect flow, a task each, which is seen on Prefect's pages while it is at work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from pipelines.flows.embedded import prefect_api
from pipelines.graph.workspace import Say

# A label for people, and what to do, which raises nothing.
Submit = Callable[[str, Callable[[], object]], None]


def run_in_flow(project: Path, name: str, parallel: int, drive: Callable[[Submit], None], *, say: Say) -> None:
    """Call `drive` within a flow whose tasks it submits.

    Tasks wait for processes, so that threads are enough for them.

    Args:
        project: its folder.
        name: of the flow run.
        parallel: tasks at a time.
        drive: submits tasks and gathers what they find; where it raises, it has asked its tasks to end.
        say: hears what takes time.

    Raises:
        UserError, ServerFailed: as `prefect_api`, or raised by `drive`.
    """
    futures: list[PrefectFuture[None]] = []  # Prefect complains of those that nobody keeps

    def submit(label: str, work: Callable[[], object]) -> None:
        @task(name="trial", task_run_name=label, cache_policy=NO_CACHE)
        def trial() -> None:
            work()

        futures.append(trial.submit())

    runner: TaskRunner[PrefectFuture[Any]] = ThreadPoolTaskRunner(max_workers=parallel)

    @flow(name="sweep", flow_run_name=name, task_runner=runner)
    def sweep() -> None:
        drive(submit)

    with prefect_api(project, say=say):
        sweep()
