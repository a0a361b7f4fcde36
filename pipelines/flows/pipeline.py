"""The DVC graph as a Prefect flow: one task per stage, generated from dvc.yaml.

Prefect adds schedules, retries, time-outs, cancelling and a page to look at;
DVC stays the judge of what has to run.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed

from ganlib.config import FlowOptions, load_config
from ganlib.errors import UserError
from pipelines import paths
from pipelines.environment import other_code
from pipelines.flows.isolated import isolated_run
from pipelines.flows.pages import ProgressPage, show_picture
from pipelines.flows.preparing import Prepared, at_hand, preparation
from pipelines.flows.report import data_quality, result_markdown
from pipelines.flows.terminal import FOR_PEOPLE
from pipelines.graph import dag
from pipelines.graph.differences import few
from pipelines.graph.locking import OneWaits, hold_pipeline
from pipelines.graph.plan import PlannedStage, plan
from pipelines.graph.repro import StageByStage
from pipelines.graph.workspace import Request
from pipelines.notifying import Notifications, notifications
from pipelines.preflight import check_project
from pipelines.summary import headline
from pipelines.tracking.runs import commit_of

FLOW_RUN_VARIABLE = "GANLIB_FLOW_RUN_ID"


def _run_name() -> str:
    """The data set and the commit, for lists of runs; a mistake in the project is told by the run itself."""
    project = Path(runtime.flow_run.parameters.get("project", ".")).resolve()
    try:
        name = load_config(project / paths.PARAMS).register_.model_name
    except UserError:
        name = project.name
    commit = commit_of(project)
    return f"{name} at {commit[:8]}" if commit else name


@flow(
    name="pipeline",
    description="Runs the stages of dvc.yaml in order and skips those that are up to date.",
    flow_run_name=_run_name,
)
def pipeline(
    project: Path = Path(), force: bool = False, isolated: bool = False, uncommitted: bool = False
) -> tuple[dag.StageOutcome, ...] | State[Any]:
    """Bring a project up to date; one run at a time drives a project, the next one waits.

    An isolated run works in a worktree of its own on the commit that is checked out, with or without the changes that
    are `uncommitted`; its outcome becomes a branch.

    A run of a deployment that finds one at work and another one waiting ends at once, unless it takes uncommitted
    changes: the waiting one will see whatever it would have seen.

    Raises:
        UserError: a mistake in parameters, data or dvc.yaml.
        StageFailed: a stage failed, after the retries it is entitled to.
    """
    _log_expected_errors_without_traceback()
    project = project.resolve()
    is_deployed = runtime.deployment.id is not None
    if is_deployed and not isolated and (line := other_code(project)):  # the command line says it itself
        _say(line, logging.WARNING)
    with notifications(project, _say) as people, contextlib.ExitStack() as held:
        try:
            # `gan run` has prepared it while Prefect was imported.
            own = _preparation(project, isolated=isolated, uncommitted=uncommitted)
            prepared = at_hand() or held.enter_context(own)
        except OneWaits:
            return Completed(
                name="Covered", message="one run is in progress and another one waits; the waiting run covers this one"
            )
        return _bring_up_to_date(prepared, people, force=force)


@contextlib.contextmanager
def _preparation(project: Path, *, isolated: bool, uncommitted: bool) -> Iterator[Prepared]:
    """The project, or a worktree of its own, with its locks."""
    # Isolated runs take turns at their own place, and wait for nobody who works in the checkout.
    place = project / paths.RUNS if isolated else project
    # One that waits may be of the commit alone, which does not cover what is uncommitted.
    is_covered = runtime.deployment.id is not None and not uncommitted
    with contextlib.ExitStack() as held:
        lock = held.enter_context(hold_pipeline(place, on_wait=_say, one_waits=is_covered))
        if isolated:
            request = Request(ref=None if uncommitted else "HEAD")
            work = held.enter_context(isolated_run(project, request, say=_say))
            lock = held.enter_context(hold_pipeline(work.project, on_wait=_say))
            project, config = work.project, work.config
        else:
            config = check_project(project)
        yield held.enter_context(preparation(project, config, lock, say=_say))


def _planned(prepared: Prepared, *, force: bool) -> tuple[PlannedStage, ...]:
    """What this run will do; the registry's answer is waited for where it decides."""

    def read() -> tuple[PlannedStage, ...]:
        return plan(prepared.dvc.project, *prepared.dvc.status(say=_say), force=force)

    planned = read()
    registers = any(each.intent != "unchanged" and str(paths.REGISTRATION) in each.stage.outs for each in planned)
    if not registers and prepared.is_forgotten():
        prepared.dvc.read_again()
        planned = read()
    return planned


def _bring_up_to_date(prepared: Prepared, people: Notifications, *, force: bool) -> State[Any]:
    """The outcomes of all stages, as a final state whose message is what people want to know first."""
    project, options, planned = prepared.dvc.project, prepared.options, _planned(prepared, force=force)
    due = [each.stage.name for each in planned if each.intent != "unchanged"]
    env = {FLOW_RUN_VARIABLE: str(runtime.flow_run.id)}
    states: dict[str, State[dag.StageOutcome]] = {}
    was_registered = (project / paths.REGISTRATION).exists()
    with StageByStage(prepared.dvc, due, force=force, env=env) as stages:
        create_table_artifact(key="plan", table=_plan(planned, options), description="What this run will do")
        # Also raises where the store cannot take what the stages bring.
        if prepared.is_forgotten() and was_registered:
            stages.begin_again()  # DVC may have taken the register stage for unchanged already
        for stage in (each.stage for each in planned):
            stage_task = _stage_task(stage, options, stages if stage.name in due else None, people)
            states[stage.name] = stage_task(return_state=True, wait_for=[states[name] for name in stage.upstream])
            if states[stage.name].result().status != "unchanged":
                _show_outputs(project, stage)
    finished = tuple(state.result() for state in states.values())
    people.finished(project, finished)
    told = headline(project, finished)
    create_markdown_artifact(key="result", markdown=result_markdown(project, finished), description="What came of it")
    return Completed(message=told, data=finished)


def _show_outputs(project: Path, stage: dag.Stage) -> None:
    if str(paths.DATA_REPORT) in stage.outs:
        rows, summary = data_quality(project / paths.DATA_REPORT)
        create_table_artifact(key="data-quality", table=rows, description=summary)
    if str(paths.TRAINING_SAMPLES) in stage.outs:
        show_picture("samples", project / paths.TRAINING_SAMPLES, "Samples of the generator")


def _stage_task(
    stage: dag.Stage, options: FlowOptions, stages: StageByStage | None, people: Notifications
) -> Task[[], dag.StageOutcome]:
    """The task that brings a stage up to date; None for `stages` where DVC knows that nothing of it has changed."""

    @task(
        name=stage.name,
        task_run_name=stage.name,
        description=stage.description or None,
        retries=options.retries,
        retry_delay_seconds=options.retry_delay_s,
        retry_condition_fn=_worth_another_try,
        cache_policy=NO_CACHE,
    )
    def bring_up_to_date() -> dag.StageOutcome:
        if stages is None:
            _say("up to date")
            return dag.StageOutcome(stage.name, "unchanged", 0.0)
        page = ProgressPage()

        def hear(line: str) -> None:
            _say(line)
            page.hear(line)
            people.hear(line)

        try:
            outcome = stages.wait_for(stage.name, on_line=hear, timeout_s=_timeout_s(stage, options))
        except dag.StageFailed as error:
            attempt, attempts = runtime.task_run.run_count, 1 if error.user_error else options.retries + 1
            again = f"; again in {options.retry_delay_s} s" if attempt < attempts else ""
            _say(f"{error} (attempt {attempt} of {attempts}{again})", logging.WARNING)
            raise
        told = f"{outcome.status} in {outcome.seconds:.1f} s"
        _say(told)
        page.finish(f"{stage.name}: {told}")
        return outcome

    return bring_up_to_date


def _worth_another_try(_task: object, _run: TaskRun, state: State[object]) -> bool:
    return not (isinstance(state.data, dag.StageFailed) and state.data.user_error)


def _timeout_s(stage: dag.Stage, options: FlowOptions) -> int:
    """The stage's time-out; the instances of a `foreach` or `matrix` stage, `name@key`, share one."""
    return options.timeout_s[stage.name.partition("@")[0]]


def _plan(planned: Sequence[PlannedStage], options: FlowOptions) -> list[dict[str, object]]:
    """A row per stage."""
    return [
        {
            "stage": each.stage.name,
            "description": each.stage.description,
            "plan": each.intent,
            "why": few(each.why),
            "seconds last time": each.last_s,
            "time-out (s)": _timeout_s(each.stage, options),
            "retries": options.retries,
        }
        for each in planned
    ]


def _say(line: str, level: int = logging.INFO) -> None:
    get_run_logger().log(level, line, extra=FOR_PEOPLE)


class _ExpectedErrors(logging.Filter):
    """Takes the traceback off errors whose message says all there is to say."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], UserError | dag.StageFailed):
            record.exc_info = None
        return True


_expected_errors = _ExpectedErrors()


def _log_expected_errors_without_traceback() -> None:
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_expected_errors)
