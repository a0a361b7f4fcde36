"""Choices laid over a preset: the complete text of params.yaml, with the reason above each choice."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.advice.choosing import Choice
from pipelines.overlay import overlaid
from pipelines.presets import preset_text

WHY = "why: "
_WIDTH = 118


def written(preset: Path, choices: Iterable[Choice], header: Sequence[str]) -> str:
    """The preset with these choices; a later choice of the same name stands.

    Args:
        preset: its file.
        choices: with reasons; an empty one leaves the preset's comments alone.
        header: lines for the top.
    """
    tree: dict[str, Any] = {}
    for choice in choices:
        *sections, name = choice.name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = choice
    top = [line for text in header for line in textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")]
    return overlaid(preset_text(preset), "\n".join([*top, "", *_lines(tree, "")]) + "\n", repeats=True)


def _lines(tree: dict[str, Any], indent: str) -> Iterable[str]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, f"{indent}  ")
            continue
        if value.reason:
            mark = f"{indent}# "
            yield from textwrap.wrap(
                WHY + value.reason, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
            )
        text = yaml.safe_dump(value.value, default_flow_style=True, sort_keys=False, width=100).removesuffix("...\n")
        first, *more = text.rstrip("\n").split("\n")
        yield f"{indent}{name}: {first}"
        yield from (f"{indent}  {line}" for line in more)
