"""Pages to look at in a browser."""

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000) -> None:
    """Serve MLflow's pages of this project's runs, and print the addresses that answer the usual questions."""
    from pipelines.ui import serve_ui

    raise typer.Exit(serve_ui(port))
