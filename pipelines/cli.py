"""The `gan` command. Heavy libraries are imported by the commands that need them."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ganlib.errors import UserError
from pipelines import paths

USER_ERROR = 2
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _describe() -> None:
    """From a folder of images to a registered, reproducible image generator."""


@app.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Parameter files; default params.yaml.")] = None,
) -> None:
    """Validate parameters (and, for params.yaml, that the data are there) without running anything."""
    from ganlib.config import load_config
    from pipelines.preflight import check_source

    for file in files or [paths.PARAMS]:
        config = load_config(file)
        if file == paths.PARAMS:
            check_source(Path(), config.data.source)
        typer.echo(f"{file}: valid")


@app.command()
def repro(force: Annotated[bool, typer.Option("--force", help="Run every stage, changed or not.")] = False) -> None:
    """Bring everything up to date with `dvc repro`, then summarise."""
    from pipelines import dag
    from pipelines.preflight import check_project
    from pipelines.summary import show

    project = Path.cwd()
    check_project(project)
    try:
        outcomes = dag.run_graph(project, on_line=typer.echo, force=force)
    except dag.StageFailed as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(USER_ERROR if error.user_error else 1) from None
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; run again to go on from the last checkpoint\n")
        raise typer.Exit(130) from None
    show(project, outcomes)


@app.command()
def run(force: Annotated[bool, typer.Option("--force", help="Run every stage, changed or not.")] = False) -> None:
    """Run the same graph as a Prefect flow; needs no server, uses a configured one."""
    from pipelines.flows.run import run_pipeline
    from pipelines.preflight import check_project

    project = Path.cwd()
    check_project(project)
    raise typer.Exit(run_pipeline(project, force=force))


@app.command()
def schedule(
    cron: Annotated[str | None, typer.Option(help="When to run, such as '0 3 * * *'.")] = None,
    timezone: Annotated[str, typer.Option(help="Of the cron expression.")] = "UTC",
    remove: Annotated[bool, typer.Option("--remove", help="Remove the schedule instead.")] = False,
) -> None:
    """Deploy the flow to a process work pool of a running Prefect server."""
    from pipelines.flows.schedule import remove_schedule, schedule_pipeline

    if remove:
        remove_schedule(Path.cwd())
        return
    if cron is None:
        raise UserError("--cron: missing; give a cron expression such as '0 3 * * *', or --remove")
    schedule_pipeline(Path.cwd(), cron=cron, timezone=timezone)


@app.command()
def sample(
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    label: Annotated[str | None, typer.Option(help="A class name; default: classes take turns.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    truncation: Annotated[float, typer.Option(min=0.0, max=1.0, help="Lower: more typical, less varied.")] = 1.0,
    folder: Annotated[Path, typer.Option(help="Generator folder.")] = paths.GENERATOR,
) -> None:
    """Draw a grid of images from a trained generator."""
    from ganlib.packaging import ImageGenerator
    from ganlib.sampling import image_grid
    from pipelines.stages.shell import write_png

    generator = ImageGenerator.load(folder)
    if label is not None and label not in generator.image.classes:
        raise UserError(f"--label {label}: unknown, expected one of {', '.join(generator.image.classes) or 'none'}")
    labels = None if label is None else [generator.image.classes.index(label)] * count
    images = generator.sample(seed=seed, count=count if labels is None else None, labels=labels, truncation=truncation)
    write_png(output, image_grid(images, columns=10, scale=max(1, 32 // generator.image.size)))
    typer.echo(f"{output}: {count} images")


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open MLflow's pages on this project's runs, on 127.0.0.1."""
    from pipelines.ui import serve_ui

    raise typer.Exit(serve_ui(port))


def main() -> NoReturn:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USER_ERROR)
    sys.exit(0)


if __name__ == "__main__":
    main()
