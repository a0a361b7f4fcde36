"""The `gan` command's help as Markdown."""

import re

import typer
from typer.cli import get_docs_for_click

from pipelines.cli import app

# A list of commands with the beginnings of their help, which follows in full.
LIST = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n")


def command_line() -> str:
    """Of every command: usage, arguments, options and their defaults."""
    command = typer.main.get_command(app)
    return LIST.sub("", get_docs_for_click(obj=command, ctx=typer.Context(command), indent=1, name="gan"))
