"""Train many times: over seeds, and over parameters."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines import paths
from pipelines.exit_codes import FAILURE_EXIT_CODE, fail

app = typer.Typer()
SetParam = Annotated[
    list[str] | None,
    typer.Option("--set-param", "-S", metavar="NAME=VALUE", help="Set a parameter, as in DVC."),
]
Parallel = Annotated[int, typer.Option(min=1, max=64, help="Trainings at a time.")]


@app.command()
def repeat(
    seeds: Annotated[int, typer.Option(help="Trainings of each recipe, from its train.seed on.")] = 5,
    presets: Annotated[
        str | None, typer.Option(metavar="A,B", help="Recipes to compare; without it, params.yaml alone.")
    ] = None,
    set_param: SetParam = None,
    parallel: Parallel = 1,
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")] = paths.REPETITION,
) -> None:
    """Compare recipes over several seeds each. It tells whether recipes differ by more than seeds do."""
    from pipelines.repeating.page import show
    from pipelines.repeating.repeat import repeat as train_all

    names = [name.strip() for name in (presets or "").split(",") if name.strip()]
    try:
        found = train_all(
            Path.cwd(),
            seeds=seeds,
            presets=names,
            overrides=set_param or [],
            parallel=parallel,
            output=output,
            say=typer.echo,
        )
    except KeyboardInterrupt:
        raise typer.Exit(fail("interrupted; run again to go on where each training stopped", 130)) from None
    show(found)
    typer.echo(f"{output}: the same as a page")
    if found.failures:
        raise typer.Exit(fail("\n".join(found.failures), FAILURE_EXIT_CODE))


@app.command()
def sweep(
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="How many, counting those of earlier calls.")],
    space: Annotated[Path, typer.Option(help="YAML file: which parameters, and what is to become best.")] = Path(
        "sweep.yaml"
    ),
    parallel: Parallel = 1,
    name: Annotated[str | None, typer.Option(help="Of the sweep; without it, that of the file.")] = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS|local", help="Run trials on a Dask cluster, or on one of its own here."),
    ] = None,
) -> None:
    """Search parameters with isolated trainings. The same command goes on with a sweep that was broken off."""
    from pipelines.sweeping.study import check_installed

    check_installed()
    from pipelines.flows.failures import ServerFailed
    from pipelines.flows.terminal import show_only_what_people_want
    from pipelines.sweeping.found import show
    from pipelines.sweeping.sweep import sweep as search

    show_only_what_people_want()
    try:
        found = search(Path.cwd(), file=space, trials=trials, parallel=parallel, name=name, dask=dask, say=typer.echo)
    except ServerFailed as error:
        raise typer.Exit(fail(str(error), FAILURE_EXIT_CODE)) from None
    except KeyboardInterrupt:
        raise typer.Exit(fail("interrupted; run again to go on where each training stopped", 130)) from None
    show(found)
