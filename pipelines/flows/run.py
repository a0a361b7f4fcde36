"""`gan run`: the flow in this process, with a Prefect server or without one."""

import contextlib
import gc
import signal
from pathlib import Path

from ganlib.errors import UserError
from pipelines import summary
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE, fail
from pipelines.flows import preparing
from pipelines.flows.failures import ServerFailed
from pipelines.flows.isolated import isolated_run
from pipelines.flows.terminal import show, show_only_what_people_want
from pipelines.graph import dag
from pipelines.graph.supervisor import signals_unwind
from pipelines.graph.workspace import Request
from pipelines.preflight import check_project

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
    try:
        with signals_unwind(), contextlib.ExitStack() as place:
            if isolation is None:
                work, config = project, check_project(project)
            else:
                workspace = place.enter_context(isolated_run(project, isolation, say=show))
                work, config = workspace.project, workspace.config
            place.enter_context(preparing.prepared(work, config, say=show))
            # Prefect takes seconds to be imported, in which DVC and the registry are asked; searches for garbage among
            # its thousands of new classes would take a tenth more.
            gc.disable()
            from pipelines.flows.embedded import prefect_api
            from pipelines.flows.pipeline import pipeline

            gc.enable()
            show_only_what_people_want()  # Prefect sets up its logging as it is imported
            with prefect_api(work, say=show):
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
