"""The definitions of all figures, as the report shows them."""

from pipelines.report.meanings import MEANINGS


def figures() -> str:
    """A table, a row a figure."""
    rows = ["| figure | name | better | what it says | source |", "| --- | --- | --- | --- | --- |"]
    for name, meaning in MEANINGS.items():
        better = "–" if meaning.better == "neither" else meaning.better
        rows.append(f"| `{name}` | {meaning.title} | {better} | {meaning.definition} | {meaning.source} |")
    return "\n".join(rows)
