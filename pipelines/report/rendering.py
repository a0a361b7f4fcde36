"""Templates, what they know of figures, and files that are replaced as a whole or not at all."""

import re
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pipelines.report import plainly, rounding
from pipelines.report.meanings import COLOURS, FITTED, in_order, meaning, title

_OURS = "pipelines.report"
_PUNCTUATION = re.compile(r"([!#$()*./:@\[\\\]_`{|}~])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def render(template: str, *, package: str = _OURS, **values: Any) -> str:
    """Fill in a template; in those of HTML everything is escaped, in Markdown what the filters name.

    Args:
        template: its file's name.
        package: that it belongs to; it may use the templates of this one.
        values: by the names that the template has for them.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, _OURS))]),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": rounding.number,
        "exact": rounding.exact,
        "span": rounding.span,
        "estimate": rounding.estimate,
        "percent": rounding.percent,
        "percent_span": rounding.percent_span,
        "probability": rounding.probability,
        "meaning": meaning,
        "in_order": in_order,
        "title_of": title,
        "copies_found": plainly.copies_found,
        "copies_told": plainly.copies_told,
        "way_rows": plainly.way_rows,
        "plain": markdown_text,
        "code": markdown_code,
    }
    environment.globals |= {"fitted": FITTED, "colours": COLOURS}
    return environment.get_template(template).render(**values)


def replace_text(path: Path, text: str) -> None:
    """Write aside and rename, so that a reader never sees half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def markdown_text(text: str) -> str:
    """Text of others as one line of Markdown that means nothing but itself, in a table too."""
    escaped = _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
    return "".join(_ENTITIES.get(letter, letter) for letter in escaped)


def markdown_code(text: str) -> str:
    """Text of others as one line of code; a bar would end a table's cell even there."""
    line = " ".join(text.split()).replace("|", r"\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{line}{space}{fence}"
