"""Run the pipeline, now or on a schedule, and prepare its parameters."""

from pathlib import Path
from typing import Annotated

import typer

from ganlib.errors import UserError
from pipelines import paths
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE, fail

app = typer.Typer()


@app.command()
def start(
    what: Annotated[str, typer.Argument(metavar="PATH|NAME|URL", help="Your pictures: as for gan data add.")],
    name: Annotated[str | None, typer.Option(help="Of data and model; without it, after the folder.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side to learn: 16, 32, 64, 128 or 256.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="That the training may take; without it, 30 on a CPU, 480 on a GPU.")
    ] = None,
    measure_share: Annotated[float, typer.Option(help="Of these minutes, what measuring snapshots may take.")] = 0.1,
    force: Annotated[
        bool, typer.Option("--force", help="Replace data of the same name, and a params.yaml that you have changed.")
    ] = False,
) -> None:
    """Add your pictures and write parameters that suit them. They suit this machine, too. After it, use gan repro."""
    from pipelines.starting.start import Wanted, start

    wanted = Wanted(name=name, size=size, minutes=minutes, measure_share=measure_share)
    start(Path.cwd(), what, wanted, force=force, say=typer.echo)


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Parameter files or presets; without any, params.yaml.")
    ] = None,
) -> None:
    """Validate parameters without running anything. For params.yaml, also check that data and stages fit."""
    from ganlib.schedules import cut_short
    from pipelines.preflight import check_project
    from pipelines.presets import load_parameters

    for file in files or [paths.PARAMS]:
        config = check_project(Path.cwd()) if file == paths.PARAMS else load_parameters(file)
        if line := cut_short(config):
            typer.echo(f"{file}: {line}")
        typer.echo(f"{file}: valid")


@app.command()
def doctor() -> None:
    """Check all that a run needs. It tells what to do where something is wrong, and changes nothing."""
    from pipelines.doctor.examine import examine

    raise typer.Exit(examine(Path()))


@app.command()
def plan(
    force: Annotated[bool, typer.Option("--force", help="As `gan repro --force` would run.")] = False,
    photos: Annotated[
        bool,
        typer.Option("--photos", help="Forecast what more pictures and more time would bring, by short trainings."),
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(help="With --photos: that these trainings may take; without it, 10.")
    ] = None,
) -> None:
    """Tell which stages a run would run, and why. It runs nothing, unless --photos asks for short trainings.

    It also tells how long each stage took last time.
    """
    from pipelines.graph import dag

    if photos:
        if force:
            raise UserError("--force: is for the plan of the stages; leave out --photos or --force")
        _forecast(10.0 if minutes is None else minutes)
        return
    if minutes is not None:
        raise UserError("--minutes: is for short trainings; add --photos")
    from pipelines.graph.plan import plan as planned
    from pipelines.preflight import check_project
    from pipelines.summary import show_plan

    project = Path.cwd()
    config = check_project(project)
    graph, changed = dag.read_status(project, on_wait=typer.echo, timeout_s=max(config.flow.timeout_s.values()))
    show_plan(planned(project, graph, changed, force=force))


@app.command()
def repro(force: Annotated[bool, typer.Option("--force", help="Run every stage, changed or not.")] = False) -> None:
    """Run the stages whose inputs have changed (`dvc repro`). It ends with a summary."""
    from pipelines.graph import dag
    from pipelines.graph.repro import run_graph
    from pipelines.notifying import notifications
    from pipelines.preflight import check_project
    from pipelines.registry.presence import check_registry
    from pipelines.summary import show

    project = Path.cwd()
    config = check_project(project)
    dag.read_graph(project)  # a mistake in dvc.yaml comes out here, in one line
    check_registry(project, config.tracking.experiment, say=typer.echo)
    try:
        with notifications(project, typer.echo) as people:

            def hear(line: str) -> None:
                typer.echo(line)
                people.hear(line)

            outcomes = run_graph(project, on_line=hear, force=force)
            people.finished(project, outcomes)
    except dag.StageFailed as error:
        code = USER_ERROR_EXIT_CODE if error.user_error else FAILURE_EXIT_CODE
        raise typer.Exit(fail(str(error), code)) from None
    except KeyboardInterrupt:
        raise typer.Exit(fail("interrupted; run again to continue from the last checkpoint", 130)) from None
    show(project, outcomes)


def _forecast(minutes: float) -> None:
    """What `gan plan --photos` does: the stages before the training, as `gan repro` runs them, then short trainings."""
    from pipelines.forecasting.forecast import check_can_be_tried, forecast_photos
    from pipelines.graph.dag import StageFailed
    from pipelines.graph.repro import run_graph
    from pipelines.preflight import check_project

    project = Path.cwd()
    check_can_be_tried(check_project(project), minutes)
    try:
        run_graph(project, on_line=typer.echo, last="extractor")
    except StageFailed as error:
        code = USER_ERROR_EXIT_CODE if error.user_error else FAILURE_EXIT_CODE
        raise typer.Exit(fail(str(error), code)) from None
    forecast_photos(minutes, say=typer.echo)


@app.command()
def run(
    force: Annotated[bool, typer.Option("--force", help="Run every stage, changed or not.")] = False,
    isolated: Annotated[
        bool, typer.Option("--isolated", help="In a git worktree of its own: this folder stays as it is.")
    ] = False,
    ref: Annotated[
        str | None,
        typer.Option(
            metavar="REV",
            help="With --isolated: the commit, branch or tag to run; without it, HEAD with your uncommitted changes.",
        ),
    ] = None,
    set_param: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", metavar="NAME=VALUE", help="With --isolated: set a parameter, as in DVC."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --isolated: what to call the run.")] = None,
) -> None:
    """Run the same stages as a Prefect flow. It uses the server in PREFECT_API_URL, or one of its own."""
    from pipelines.flows.run import run_pipeline
    from pipelines.graph.workspace import Request

    isolation = Request(ref, tuple(set_param or ()), name) if isolated else None
    if isolation is None:
        for option, value in (("--ref", ref), ("--set-param", set_param), ("--name", name)):
            if value:
                raise UserError(f"{option}: is for runs in a worktree of their own; add --isolated")
    raise typer.Exit(run_pipeline(Path.cwd(), force=force, isolation=isolation))


@app.command()
def adopt(name: Annotated[str, typer.Argument(help="Of an isolated run: branch runs/NAME.")]) -> None:
    """Bring the outcome of an isolated run into this folder. These are dvc.lock, params.yaml, reports and models."""
    from pipelines.graph.workspace import adopt as adopt_run

    adopt_run(Path.cwd(), name, say=typer.echo)


@app.command()
def schedule(
    cron: Annotated[str | None, typer.Option(help="When to run, such as '0 3 * * *'.")] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the cron expression.")] = "UTC",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Run this folder as it is, not what is committed in a worktree.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the schedule.")] = False,
) -> None:
    """Run the flow at fixed times. It makes a deployment on a running Prefect server."""
    from pipelines.flows.schedule import remove_schedule, schedule_pipeline

    if remove:
        remove_schedule(Path.cwd())
        return
    if cron is None:
        raise UserError("--cron: missing; give a cron expression such as '0 3 * * *', or --remove")
    schedule_pipeline(Path.cwd(), cron=cron, timezone=timezone, isolated=not in_place)


@app.command()
def watch(
    every_s: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 30.0,
    quiet_s: Annotated[float, typer.Option(min=0.0, help="Start when nothing has changed for so many seconds.")] = 60.0,
    drift: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.5,
            help="Start only when new images are unlike the held-out ones, by a test that errs this often.",
        ),
    ] = None,
) -> None:
    """Start a run when the data have changed. It is the scheduled one on a Prefect server, or an isolated one here."""
    from pipelines.watching.watch import Options
    from pipelines.watching.watch import watch as watch_data

    watch_data(Path.cwd(), Options(every_s, quiet_s, drift), say=typer.echo)


@app.command()
def preset(
    name: Annotated[str | None, typer.Argument(help="Name of a preset; without it, all are listed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a params.yaml that you have changed.")] = False,
) -> None:
    """List the presets, or write params.yaml from one."""
    from pipelines.presets import apply_preset, find_preset, known_presets, listing

    presets = known_presets(Path.cwd())
    if name is None or name not in {known.name for known in presets}:
        typer.echo(listing(presets))
    if name is not None:
        for line in apply_preset(Path.cwd(), find_preset(name, presets), presets, force=force):
            typer.echo(line)
