"""The findings as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.gpu.checks import CHECKS, Row


def render(machine: Mapping[str, Any], found: Mapping[str, Sequence[Row]]) -> str:
    """A table for each check."""
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("kind", "date"))
    lines = [f"# What the GPU says: {machine['kind']}, {machine['date']}", "", f"{facts}."]
    for name, rows in found.items():
        lines += ["", f"## {CHECKS[name].title}", "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    yield "| " + " | ".join(columns) + " |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield "| " + " | ".join(_cell(row.get(name, "")) for name in columns) + " |"


def _cell(value: object) -> str:
    text = ("yes" if value else "**no**") if isinstance(value, bool) else str(value)
    return text.replace("|", "\\|")
