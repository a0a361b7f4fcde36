"""Pages to look at in a browser."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Open MLflow's pages on this project's runs, on 127.0.0.1."""
    from pipelines.ui import serve_ui

    raise typer.Exit(serve_ui(port))
