"""The `gan` command, one file a group of commands. Heavy libraries are imported by the commands that need them."""

import sys
from pathlib import Path
from typing import NoReturn

import typer

from ganlib.errors import UserError
from pipelines import environment
from pipelines.cli import comparing, data, generator, pages, registry, running, searching
from pipelines.exit_codes import USER_ERROR_EXIT_CODE, fail

# Without rich's frames, help takes half the time.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
for group in (running, searching, generator, comparing, registry, pages):
    app.add_typer(group.app)
app.add_typer(data.app, name="data")


@app.callback()
def _describe() -> None:
    """From a folder of images to a registered, reproducible image generator."""


def main() -> NoReturn:
    """Entry point: a user's mistake is one line on stderr and exit code 2, and so is a file that cannot be used."""
    environment.apply()
    if line := environment.other_code(Path.cwd()):
        sys.stderr.write(f"note: {line}\n")
    try:
        app()
    except UserError as error:
        sys.exit(fail(str(error), USER_ERROR_EXIT_CODE))
    except OSError as error:
        command = " ".join(["gan", *sys.argv[1:2]])
        file = error.filename2 or error.filename or "no file named"
        sys.exit(fail(f"{command}: {error.strerror or error} ({file})", USER_ERROR_EXIT_CODE))
    sys.exit(0)
