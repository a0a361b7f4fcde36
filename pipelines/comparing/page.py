"""A comparison as one HTML file that holds all it shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from ganlib.evaluation.record import Figure
from pipelines.comparing.figures import Row
from pipelines.comparing.findings import Findings
from pipelines.comparing.subject import Subject
from pipelines.comparing.terminal import RUN_COLUMNS, gate_cells, gate_sentence, run_row
from pipelines.report.charts import Chart, Line, line_chart, whiskers
from pipelines.report.facts import Picture
from pipelines.report.meanings import MEANINGS, meaning
from pipelines.report.rendering import render, replace_text
from pipelines.report.rounding import decimals_of, estimate, number

CHAPTERS = {
    "differs": "What differs",
    "samples": "Samples of the same seed",
    "figures": "Figures",
    "curves": "Curves",
    "glossary": "Glossary",
}
SEED = "evaluate.seed"
MARKS = {True: "passed", False: "failed", None: "decides nothing"}
# Small pictures are enlarged by a whole factor up to this width, so that two stand side by side on a desk.
PICTURE_WIDTH_PX = 480
SMALL_PX = 64


def write_page(found: Findings, path: Path) -> None:
    """Write the page, replaced as a whole or not at all; the same findings give the same bytes."""
    text = render(
        "comparison.html",
        package="pipelines.comparing",
        found=found,
        chapters=CHAPTERS,
        run_columns=RUN_COLUMNS,
        runs=[run_row(each) for each in found.subjects],
        gate=[] if found.meeting is None else [(row, gate_cells(row)) for row in found.meeting.verdict.table],
        marks=MARKS,
        gate_sentence=None if found.meeting is None else gate_sentence(found.meeting, found.names),
        figures=[_figure_row(row) for row in found.figures],
        level=next(iter(_levels(found)), None),
        samples=list(zip(found.names, (each.samples for each in found.subjects), _seeds(found.subjects), strict=True)),
        one_seed=len({seed for seed in _seeds(found.subjects) if seed is not None}) < 2,
        charts=_charts(found.subjects),
        meanings=_meanings(found),
        enlarged=_enlarged,
        small=SMALL_PX,
    )
    replace_text(path, text)


@dataclass(frozen=True)
class _Cell:
    estimate: str
    value: str
    best: bool


@dataclass(frozen=True)
class _FigureRow:
    name: str
    cells: tuple[_Cell | None, ...]
    verdict: str
    drawing: Markup | None


def _figure_row(row: Row) -> _FigureRow:
    cells = tuple(None if each is None else _cell(each, place in row.best) for place, each in enumerate(row.figures))
    drawing = None
    if len(row.figures) == 2 and row.figures[0] is not None and row.figures[1] is not None:
        drawing = whiskers(row.figures[0], row.figures[1], share=meaning(row.name).share)
    return _FigureRow(row.name, cells, row.verdict, drawing)


def _cell(figure: Figure, best: bool) -> _Cell:
    """The usual value stands beside the estimate only where it says something else."""
    if figure.interval is None:
        return _Cell(number(figure.value), "", best)
    decimals = decimals_of(figure.interval)
    usual, middle = number(figure.value, decimals), number(figure.interval.estimate, decimals)
    return _Cell(estimate(figure.interval), "" if usual == middle else usual, best)


def _levels(found: Findings) -> list[float]:
    figures = [figure for row in found.figures for figure in row.figures if figure is not None]
    return [figure.interval.level for figure in figures if figure.interval is not None]


def _seeds(subjects: Sequence[Subject]) -> list[str | None]:
    return [None if each.parameters is None else each.parameters.get(SEED) for each in subjects]


def _charts(subjects: Sequence[Subject]) -> list[Chart]:
    """Curves over each other where they are in one unit; those that are not are named below."""
    shown = "images shown"
    losses = ("loss.adversarial",)
    found = [
        _chart("Fréchet distance to the training split", shown, subjects, "fid", ("train.extractor",), of_data=True),
        _chart("Critic's loss", shown, subjects, "loss/critic", losses),
        _chart("Generator's loss", shown, subjects, "loss/generator", losses),
        _chart("Evidence bound", shown, subjects, "evidence/bound", ("data.image_size", "data.channels")),
    ]
    return [chart for chart in found if chart is not None]


def _chart(
    name: str, x_label: str, subjects: Sequence[Subject], column: str, unit: Sequence[str], *, of_data: bool = False
) -> Chart | None:
    """Of the most runs that have the column in one unit, of equally many the newer."""
    having = [(place, each) for place, each in enumerate(subjects) if column in _columns(each)]
    if not having:
        return None
    units = {place: _unit(each, unit, of_data) for place, each in having}
    counts = Counter(reversed(units.values()))
    mine = max(counts, key=lambda each: counts[each])
    lines = [Line(each.called, _columns(each)[column], style=place) for place, each in having if units[place] == mine]
    chart = line_chart(name, x_label, lines)
    others = [each.called for place, each in having if units[place] != mine]
    if chart is None or not others:
        return chart
    why = "another extractor or other data" if of_data else "another loss"
    return replace(chart, note=f"{chart.note} Left out, as with {why}: {', '.join(others)}.".strip())


def _columns(subject: Subject) -> Mapping[str, tuple[tuple[float, float], ...]]:
    return {**subject.curves, **subject.snapshots}


def _unit(subject: Subject, names: Sequence[str], of_data: bool) -> tuple[str | None, ...]:
    parameters = subject.parameters or {}
    return (*(parameters.get(name) for name in names), subject.data_sha256 if of_data else None)


def _meanings(found: Findings) -> list[tuple[str, str]]:
    names = {row.name.rpartition("/")[2] for row in found.figures}
    return [(each.title, each.definition) for name, each in MEANINGS.items() if name in names]


def _enlarged(picture: Picture) -> int:
    return max(1, PICTURE_WIDTH_PX // picture.width)
