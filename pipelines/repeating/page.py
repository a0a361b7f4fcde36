"""What several seeds have shown as tables: Markdown for files and MLflow, and for the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from ganlib.evaluation.record import Interval
from pipelines.console import plain_console
from pipelines.repeating.findings import Found, Recipe, Row, Seed, is_sure
from pipelines.report.meanings import meaning, title
from pipelines.report.rounding import decimals_of, estimate, number

_WIDTH = 140


@dataclass(frozen=True)
class Sheet:
    """A table."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(found: Found) -> str:
    """The page."""
    parts = [
        "# " + _title(found),
        *(f"**{each}**" for each in found.sentences),
        *(f"- {each}" for each in notes(found)),
    ]
    for sheet in sheets(found):
        lines = [sheet.header, ("---", *["---:"] * (len(sheet.header) - 1)), *sheet.rows]
        cells = ("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        parts += [f"## {sheet.title}", "\n".join(cells)]
    return "\n\n".join(parts) + "\n"


def show(found: Found) -> None:
    """Print the answer, the tables and how they were made."""
    console = plain_console(_WIDTH)
    for each in found.sentences:
        console.print(Text(each, style="bold"), soft_wrap=True)
    for sheet in sheets(found):
        table = Table(title=sheet.title, title_justify="left")
        for place, name in enumerate(sheet.header):
            table.add_column(name, justify="right" if place else "left")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    for each in notes(found):
        console.print(each, soft_wrap=True)


def sheets(found: Found) -> tuple[Sheet, ...]:
    """The gate's figure by seed, and all figures over the seeds."""
    return (_by_seed(found), _all_figures(found))


def notes(found: Found) -> Iterator[str]:
    """How it was done, and what did not work."""
    yield from (f"Failed: {each}." for each in found.failures)
    yield (
        f"Means with Student's t intervals ({found.level:.0%}); ± is the standard deviation between seeds. Figures are "
        "estimates free of the bias of few images where there are such."
    )
    others = len(found.recipes) - 1
    if others:
        together = f", at {found.level:.0%} for all {others} comparisons of a figure together (Bonferroni)"
        yield (
            f"Differences from {found.recipes[0].name} by Welch's t over the seeds{together if others > 1 else ''}. "
            f"{title(found.metric)} decides; of many other figures some seem to differ by chance."
        )


def _title(found: Found) -> str:
    return f"{' against '.join(each.name for each in found.recipes)} over seeds"


def _by_seed(found: Found) -> Sheet:
    names = [each.name for each in found.recipes]
    numbers = sorted({each.seed for recipe in found.recipes for each in recipe.seeds})
    rows = [(str(seed), *(_cell(recipe, seed, found.metric) for recipe in found.recipes)) for seed in numbers]
    spreads = [each for each in found.row.spreads if each is not None]
    means = [Interval.of(each.mean) for each in spreads]
    rows.append(("mean", *map(estimate, means)))
    between = (number(each.deviation, decimals_of(mean)) for each, mean in zip(spreads, means, strict=True))
    rows.append(("between seeds", *between))
    resampled = [found.resampling(each) for each in found.recipes]
    within = (
        "–" if each is None else number(each, decimals_of(mean)) for each, mean in zip(resampled, means, strict=True)
    )
    rows.append(("other images", *within))
    return Sheet(f"{title(found.metric)} by seed", ("train.seed", *names), tuple(rows))


def _cell(recipe: Recipe, seed: int, metric: str) -> str:
    one: Seed | None = next((each for each in recipe.seeds if each.seed == seed), None)
    if one is None:
        return ""
    figure = one.figure(metric)
    if figure is None:
        return "failed" if isinstance(one.result, str) else "–"
    return number(figure.value) if figure.interval is None else estimate(figure.interval)


def _all_figures(found: Found) -> Sheet:
    first, *others = (each.name for each in found.recipes)
    header = ("figure", first, *others, *(f"{name} less {first}" for name in others))
    return Sheet("All figures, mean ± deviation between seeds", header, tuple(map(_figure_row, found.rows)))


def _figure_row(row: Row) -> tuple[str, ...]:
    better = meaning(row.name).better
    name = row.name if better == "neither" else f"{row.name} ({better} is better)"
    return (name, *_spreads(row), *_differences(row.differences))


def _spreads(row: Row) -> Iterator[str]:
    for spread in row.spreads:
        if spread is None:
            yield "–"
            continue
        decimals = decimals_of(Interval.of(spread.mean))
        yield f"{number(spread.mean.estimate, decimals)} ± {number(spread.deviation, decimals)}"


def _differences(differences: Sequence[Interval | None]) -> Iterator[str]:
    for apart in differences:
        yield "–" if apart is None else f"{estimate(apart)}{' *' if is_sure(apart) else ''}"
