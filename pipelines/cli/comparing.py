"""Compare runs."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines import paths

app = typer.Typer()


@app.command()
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="An id or its start, a name, an alias such as champion, or the number of a version.",
        ),
    ] = None,
    last: Annotated[int | None, typer.Option(min=2, max=8, help="The newest runs, so many.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = paths.COMPARISON,
) -> None:
    """Say which run is better, whether that is sure, and what differs between them."""
    from pipelines.comparing.compare import compare_runs

    compare_runs(runs or [], last=last, output=output)
