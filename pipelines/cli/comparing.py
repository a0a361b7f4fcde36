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
            help="An id or the start of one, a name, an alias such as champion, or the number of a version.",
        ),
    ] = None,
    last: Annotated[int | None, typer.Option(min=2, max=8, help="Compare the newest runs, as many as this.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = paths.COMPARISON,
) -> None:
    """Tell which run is better, whether the difference is sure, and what differs between them."""
    from pipelines.comparing.compare import compare_runs

    compare_runs(runs or [], last=last, output=output)
