"""What a sweep has found, as tables and sentences."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from pipelines.console import plain_console
from pipelines.report.rounding import number
from pipelines.sweeping.space import Space, overrides
from pipelines.sweeping.study import Tried

SEEDS = 5  # that the report asks for
_WIDTH = 160


@dataclass(frozen=True)
class Found:
    """A sweep that has come to its end.

    Attributes:
        name: of the sweep.
        space: what was searched.
        trials: all that have ended.
        best: one, or of several objectives those that no other trial beats in all.
    """

    name: str
    space: Space
    trials: tuple[Tried, ...]
    best: tuple[Tried, ...]

    @property
    def headline(self) -> str:
        """How many trials there were, and which is best."""
        counts = [
            f"{len(self.trials)} trials",
            f"{sum(each.values is not None for each in self.trials)} evaluated",
            f"{sum(each.values is None for each in self.trials)} stopped or failed",
        ]
        if not self.best:
            return f"Sweep {self.name}: {', '.join(counts)}; none came to {', '.join(self.space.objectives)}."
        if len(self.space.objectives) == 1:
            (best, *_) = self.best
            return f"Sweep {self.name}: {', '.join(counts)}. Best: trial {best.number}, {self.values(best)}."
        return (
            f"Sweep {self.name}: {', '.join(counts)}. No trial beats these in all of "
            f"{', '.join(self.space.objectives)}: {', '.join(str(each.number) for each in self.best)}."
        )

    def values(self, tried: Tried) -> str:
        """`domain/fid 1.23`."""
        pairs = zip(self.space.objectives, tried.values or (), strict=False)
        return ", ".join(f"{name} {number(value)}" for name, value in pairs)

    def commands(self) -> Iterator[str]:
        """What to do with the best, ready to copy."""
        for each in self.best:
            point = {name: each.point[name] for name in self.space.parameters}
            changes = " ".join(f"-S {shlex.quote(change)}" for change in overrides(point))
            yield f"gan repeat --seeds {SEEDS} {changes}"
            yield f"gan adopt {each.run}"

    def ranked(self) -> list[Tried]:
        """Those with values first, the best before others by the first objective; then as they came."""
        sign = 1 if self.space.directions()[0] == "minimize" else -1
        return sorted(
            self.trials, key=lambda each: (each.values is None, sign * each.values[0] if each.values else each.number)
        )

    def header(self) -> tuple[str, ...]:
        """Of the table of trials."""
        return ("trial", *self.space.objectives, *self.space.parameters, "run", "")

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A trial each."""
        for each in self.ranked():
            values = map(number, each.values) if each.values else ["–"] * len(self.space.objectives)
            point = (str(each.point.get(name, "–")) for name in self.space.parameters)
            mark = "best" if each in self.best else each.why
            yield (str(each.number), *values, *point, each.run, mark)


ADVICE = (
    "The best of many trials is partly luck: repeat it over seeds first, then adopt it; `gan repro` evaluates and "
    "registers it in this folder."
)


def markdown(found: Found, pictures: Sequence[str], notes: Sequence[str]) -> str:
    """The page: the answer, what to do next, the pictures by name, and all trials."""
    lines = [found.header(), ["---"] * len(found.header()), *found.rows()]
    cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    parts = [
        f"# Sweep {found.name}",
        f"**{found.headline}**",
        *([ADVICE, "```\n" + "\n".join(found.commands()) + "\n```"] if found.best else []),
        *(f"- {each}" for each in notes),
        *(f"![{name}]({name})" for name in pictures),
        "## Trials",
        "\n".join(cells),
        "## Space",
        "\n".join(f"- `{name}`: {told}" for name, told in found.space.described().items()),
    ]
    return "\n\n".join(parts) + "\n"


def show(found: Found) -> None:
    """Print the trials, the answer, and what to do next."""
    console = plain_console(_WIDTH)
    table = Table(*found.header(), title="Trials", title_justify="left")
    for row in found.rows():
        table.add_row(*row)
    console.print(table)
    console.print(Text(found.headline, style="bold"), soft_wrap=True)
    if found.best:
        console.print(ADVICE, soft_wrap=True)
    for command in found.commands():
        console.print(f"  {command}", soft_wrap=True)
