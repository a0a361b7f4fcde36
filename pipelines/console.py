"""The terminal, to which everything printed is text, whoever wrote it."""

from rich.console import Console


def plain_console(width: int | None = None) -> Console:
    """A console that takes no markup, emoji or highlighting from what it prints, in tables too.

    Args:
        width: in characters where there is no terminal; None leaves it to rich.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    if width is not None and not console.is_terminal:
        console.width = width
    return console
