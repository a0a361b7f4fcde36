"""The `gan data` commands."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines import paths

app = typer.Typer(no_args_is_help=True, help="Add, check and look at data sets.")


@app.command()
def add(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH|URL",
            help="A public set (mnist, fashion-mnist, kmnist, cifar10, cifar100, svhn, stl10, celeba), a file, "
            "a folder or a URL.",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of your own data in data/raw.")] = None,
    given: Annotated[
        Path | None, typer.Option("--from", help="A folder with the official files, instead of a download.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace data of the same name.")] = False,
) -> None:
    """Bring data into data/raw and put them under DVC. It also sets data.source in params.yaml."""
    from pipelines.data.add import add

    add(Path.cwd(), what, name=name, given=given, force=force, say=typer.echo)


@app.command()
def check() -> None:
    """Read and clean all images without writing any. It fails if the stage preprocess would fail."""
    from pipelines.data.check import check_data

    check_data(Path.cwd())


@app.command()
def show(
    output: Annotated[Path, typer.Option(help="Folder to write; its content is replaced.")] = paths.DATA_SHEETS,
) -> None:
    """Draw a contact sheet of each class. It also prints sizes, modes and channel statistics."""
    from pipelines.data.show import show_data

    show_data(Path.cwd(), output)
