"""Move the champion, and tell who moved it."""

from typing import Annotated

import typer

from pipelines import paths

app = typer.Typer()

_Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
_Model = Annotated[str | None, typer.Option(help="A registered model; without it, register.model_name of params.yaml.")]


@app.command()
def promote(
    reason: _Reason,
    version: Annotated[
        str, typer.Argument(metavar="VERSION|challenger", help="The number of a version, or challenger for the latest.")
    ] = "challenger",
    model: _Model = None,
) -> None:
    """Make a registered version the champion. The gate's verdict plays no part."""
    from pipelines.registry import promotion

    typer.echo(promotion.promote(_model_name(model), version, reason, say=typer.echo))


@app.command()
def rollback(reason: _Reason, model: _Model = None) -> None:
    """Make the previous champion the champion again."""
    from pipelines.registry import promotion

    typer.echo(promotion.roll_back(_model_name(model), reason, say=typer.echo))


@app.command()
def history(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, model: _Model = None) -> None:
    """List the champions, newest first. It tells when each became one, by whom and why."""
    from pipelines.registry import promotion

    name = _model_name(model)
    transitions = promotion.history(name)
    if as_json:
        typer.echo(promotion.as_json(transitions))
    else:
        promotion.show(name, transitions)


def _model_name(given: str | None) -> str:
    from ganlib.config import load_config

    return given or load_config(paths.PARAMS).register_.model_name
