"""Train a recipe many times: over seeds."""

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
    """Train recipes with several seeds each, isolated, and tell whether they differ by more than the seed does."""
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
