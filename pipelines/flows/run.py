"""`gan run`: the flow in this process, with a Prefect server or without one."""

import contextlib
import logging
import signal
import sys
from pathlib import Path

from ganlib.errors import UserError
from pipelines import summary
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE, fail
from pipelines.flows.embedded import ServerFailed, prefect_api
from pipelines.flows.isolated import isolated_run
from pipelines.flows.pipeline import FOR_PEOPLE, pipeline
from pipelines.graph import dag
from pipelines.graph.supervisor import signals_unwind
from pipelines.graph.workspace import Request

INTERRUPTED = 128 + signal.SIGINT


def run_pipeline(project: Path, *, force: bool = False, isolation: Request | None = None) -> int:
    """Run the flow and show what people want to see of it; returns the exit code.

    0: done; 2: a mistake that the user can mend; 130: Ctrl-C; 1: anything else
    that is expected to fail. However this process ends, no stage, no server
    and no lock outlives it for more than the time of grace.

    Args:
        project: its folder.
        force: run every stage, changed or not.
        isolation: what to run in a worktree of its own; None: the project's folder as it is.
    """
    show_only_what_people_want()
    try:
        with signals_unwind(), contextlib.ExitStack() as place:
            work = project
            if isolation is not None:
                work = place.enter_context(isolated_run(project, isolation, say=_print)).project
            with prefect_api(work, say=_print):
                outcomes = pipeline(project=work, force=force)
            assert isinstance(outcomes, tuple), "only runs of a deployment end as covered"
            summary.show(work, outcomes, here=isolation is None)
    except UserError as error:
        return fail(str(error), USER_ERROR_EXIT_CODE)
    except dag.StageFailed as error:
        return fail(str(error), USER_ERROR_EXIT_CODE if error.user_error else FAILURE_EXIT_CODE)
    except ServerFailed as error:
        return fail(str(error), FAILURE_EXIT_CODE)
    except KeyboardInterrupt:
        return fail("interrupted; run again to continue from the last checkpoint", INTERRUPTED)
    return 0


def show_only_what_people_want() -> None:
    """The stages' output as plain lines; of Prefect itself only warnings, each once.

    What Prefect reports about runs is said by the flow itself or by the exit, and so is the loss of a server: Prefect
    would print each log and event that the server did not receive.
    """
    logging.raiseExceptions = False
    logging.getLogger("prefect._internal.concurrency").addFilter(lambda _record: False)
    prefect = logging.getLogger("prefect")
    prefect.propagate = False
    if not any(isinstance(handler, _Terminal) for handler in prefect.handlers):
        prefect.addHandler(_Terminal())


class _Terminal(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._warnings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line that was meant for people, or a new warning from elsewhere."""
        message = record.getMessage()
        if FOR_PEOPLE.items() <= vars(record).items():
            stage = vars(record).get("task_run_name")
            _print(f"{stage} | {message}" if stage else message)
            return
        about_runs = record.name.startswith(("prefect.flow_runs", "prefect.task_runs"))
        if record.levelno >= logging.WARNING and not about_runs and message not in self._warnings:
            self._warnings.add(message)
            _print(message)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
