"""The `gan` command. Heavy libraries are imported by the commands that need them."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ganlib.errors import UserError
from pipelines import paths
from pipelines.data import commands
from pipelines.exit_codes import FAILURE_EXIT_CODE, USER_ERROR_EXIT_CODE, fail

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(commands.app, name="data")


@app.callback()
def _describe() -> None:
    """From a folder of images to a registered, reproducible image generator."""


@app.command()
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Parameter files; default params.yaml.")] = None,
) -> None:
    """Validate parameters (and, for params.yaml, that data and stages fit them) without running anything."""
    from ganlib.config import load_config
    from pipelines.preflight import check_project

    for file in files or [paths.PARAMS]:
        if file == paths.PARAMS:
            check_project(Path.cwd())
        else:
            load_config(file)
        typer.echo(f"{file}: valid")


@app.command()
def repro(force: Annotated[bool, typer.Option("--force", help="Run every stage, changed or not.")] = False) -> None:
    """Bring everything up to date with `dvc repro`, then summarise."""
    from pipelines.graph import dag
    from pipelines.preflight import check_project, forget_lost_registry
    from pipelines.summary import show

    project = Path.cwd()
    check_project(project)
    dag.read_graph(project)  # a mistake in dvc.yaml comes out here, in one line
    forget_lost_registry(project, say=typer.echo)
    try:
        outcomes = dag.run_graph(project, on_line=typer.echo, force=force)
    except dag.StageFailed as error:
        code = USER_ERROR_EXIT_CODE if error.user_error else FAILURE_EXIT_CODE
        raise typer.Exit(fail(str(error), code)) from None
    except KeyboardInterrupt:
        raise typer.Exit(fail("interrupted; run again to go on from the last checkpoint", 130)) from None
    show(project, outcomes)


@app.command()
def run(force: Annotated[bool, typer.Option("--force", help="Run every stage, changed or not.")] = False) -> None:
    """Run the same graph as a Prefect flow; needs no server, uses a configured one."""
    from pipelines.preflight import check_project

    check_project(Path.cwd())  # before the seconds that Prefect takes to start
    from pipelines.flows.run import run_pipeline

    raise typer.Exit(run_pipeline(Path.cwd(), force=force))


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
def preset(
    name: Annotated[str | None, typer.Argument(help="Which; without it, all are listed.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a params.yaml with changes of your own.")] = False,
) -> None:
    """List the presets, or write params.yaml from one."""
    from pipelines.presets import apply_preset, find_preset, known_presets, listing

    presets = known_presets(Path.cwd())
    if name is None or name not in {known.name for known in presets}:
        typer.echo(listing(presets))
    if name is not None:
        for line in apply_preset(Path.cwd(), find_preset(name, presets), presets, force=force):
            typer.echo(line)


@app.command()
def sample(
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    label: Annotated[str | None, typer.Option(help="A class name; default: classes take turns.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    truncation: Annotated[float, typer.Option(help="Above 0, at most 1; lower: more typical, less varied.")] = 1.0,
    folder: Annotated[Path, typer.Option(help="Generator folder.")] = paths.GENERATOR,
) -> None:
    """Draw a grid of images from a trained generator."""
    _check_png("--output", output)
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
def judge(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files of any size.")],
    label: Annotated[str | None, typer.Option(help="Class told to the critic; default: the one that is seen.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    picture: Annotated[Path | None, typer.Option(help="PNG file: each beside its nearest training images.")] = None,
) -> None:
    """Say how real images look to the critic and the features, and how near they are to training images."""
    if picture is not None:
        _check_png("--picture", picture)
    from pipelines.judging import judge_files
    from pipelines.stages.shell import write_png

    session = judge_files(images, label=label)
    if as_json:
        typer.echo(session.as_json())
    else:
        session.show()
    if picture is not None:
        write_png(picture, session.picture())
    if session.troubles:
        raise typer.Exit(fail("\n".join(session.troubles), USER_ERROR_EXIT_CODE))


@app.command()
def quiz(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    count: Annotated[int, typer.Option(min=2, max=1000, help="Images a person; half are generated.")] = 50,
    exposure_ms: Annotated[int, typer.Option(min=0, max=60_000, help="Each is shown so long; 0: no limit.")] = 500,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the choice of images; default: a new one.")] = None,
) -> None:
    """Ask people which images are real, on a page on 127.0.0.1, and log how often they err."""
    from pipelines.quiz.serving import serve_quiz

    serve_quiz(port=port, count=count, exposure_ms=exposure_ms, seed=seed)


_Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
_Model = Annotated[str | None, typer.Option(help="A registered model; default: register.model_name of params.yaml.")]


@app.command()
def promote(
    reason: _Reason,
    version: Annotated[
        str, typer.Argument(metavar="VERSION|challenger", help="The number of a version, or the latest.")
    ] = "challenger",
    model: _Model = None,
) -> None:
    """Make a registered version the champion, whatever the gate says of it."""
    from pipelines.registry import promotion

    typer.echo(promotion.promote(_model_name(model), version, reason, say=typer.echo))


@app.command()
def rollback(reason: _Reason, model: _Model = None) -> None:
    """Give the alias champion back to the version that held it before."""
    from pipelines.registry import promotion

    typer.echo(promotion.roll_back(_model_name(model), reason, say=typer.echo))


@app.command()
def history(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False, model: _Model = None
) -> None:
    """Tell who was made champion when, by whom and why, newest first."""
    from pipelines.registry import promotion

    name = _model_name(model)
    transitions = promotion.history(name)
    if as_json:
        typer.echo(promotion.as_json(transitions))
    else:
        promotion.show(name, transitions)


def _check_png(option: str, path: Path) -> None:
    if path.suffix.lower() not in {"", ".png"}:
        raise UserError(f"{option} {path}: a PNG file is written; expected a name that ends in .png")


def _model_name(given: str | None) -> str:
    from ganlib.config import load_config

    return given or load_config(paths.PARAMS).register_.model_name


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open MLflow's pages on this project's runs, on 127.0.0.1."""
    from pipelines.ui import serve_ui

    raise typer.Exit(serve_ui(port))


def main() -> NoReturn:
    """Entry point: a user's mistake is one line on stderr and exit code 2, and so is a file that cannot be used."""
    try:
        app()
    except UserError as error:
        sys.exit(fail(str(error), USER_ERROR_EXIT_CODE))
    except OSError as error:
        command = " ".join(["gan", *sys.argv[1:2]])
        file = error.filename2 or error.filename or "no file named"
        sys.exit(fail(f"{command}: {error.strerror or error} ({file})", USER_ERROR_EXIT_CODE))
    sys.exit(0)


if __name__ == "__main__":
    main()
