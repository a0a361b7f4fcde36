"""Compare runs, and versions with what is made again of them."""

from pathlib import Path
from typing import Annotated

import typer

from ganlib.errors import UserError
from pipelines import paths
from pipelines.exit_codes import DIFFERENT_EXIT_CODE, EQUIVALENT_EXIT_CODE, FAILURE_EXIT_CODE, fail

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
    """Tell which run is better, and whether that is sure. It also tells what differs between them."""
    from pipelines.comparing.compare import compare_runs

    compare_runs(runs or [], last=last, output=output)


@app.command()
def reproduce(
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION", help="models:/NAME@ALIAS, models:/NAME/VERSION, or a version or alias of this project."
        ),
    ] = None,
    attest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a statement of the outcome, signed with the key in GANLIB_SIGNING_KEY."
        ),
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verify such a statement with --key; make nothing again.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="Public key of whoever has signed.")] = None,
) -> None:
    """Make a registered version again, and compare the two. It takes the version's own commit, parameters and data.

    Exit codes: 0 identical; 3 equivalent, as the gate compares; 4 different.
    """
    if (verify is None) == (version is None) or (verify is None) != (key is None) or (verify and attest):
        raise UserError("gan reproduce: give VERSION, with --attest or without; or --verify FILE with --key PEM")
    if verify is not None and key is not None:
        from pipelines.comparing.attestation import verify as verified
        from pipelines.comparing.reproduction import show_statement

        show_statement(verified(verify, key), by=str(key))
        return
    assert version is not None
    from pipelines.comparing.reproduction import reproduce as make_again
    from pipelines.comparing.reproduction import show
    from pipelines.graph.dag import StageFailed

    try:
        found = make_again(Path.cwd(), version, attest=attest, say=typer.echo)
    except StageFailed as error:
        raise typer.Exit(fail(str(error), FAILURE_EXIT_CODE)) from None
    show(found)
    raise typer.Exit(
        {"identical": 0, "equivalent": EQUIVALENT_EXIT_CODE, "different": DIFFERENT_EXIT_CODE}[found.verdict]
    )
