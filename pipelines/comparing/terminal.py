"""A comparison in the terminal."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.table import Column, Table
from rich.text import Text

from ganlib.evaluation.record import Figure
from pipelines.comparing.figures import Row
from pipelines.comparing.findings import Findings
from pipelines.comparing.meeting import Meeting
from pipelines.comparing.subject import Subject
from pipelines.console import plain_console
from pipelines.registry.history import one_line
from pipelines.registry.verdict import Row as GateRow
from pipelines.report.meanings import meaning, title
from pipelines.report.rounding import decimals_of, estimate, exact, number, percent

RUN_COLUMNS = ("run", "id", "version", "started (UTC)", "trained", "data", "commit", "generator")
_WIDTH = 140
_SHORT = 8
_BEST, _EQUAL = "bold green", "dim"


def show(found: Findings) -> None:
    """Print the tables, the answer first."""
    console = plain_console(_WIDTH)
    console.print(Text(one_line(found.headline), style="bold"), soft_wrap=True)
    for note in found.notes:
        console.print(f"Mind: {one_line(note)}.", soft_wrap=True)
    console.print(_runs(found.subjects))
    if found.parameters:
        console.print(_parameters(found))
    else:
        console.print("The parameters do not differ.")
    if found.meeting is not None:
        console.print(_gate(found.meeting, found.names))
        console.print(gate_sentence(found.meeting, found.names), soft_wrap=True)
    elif found.unmet:
        console.print(f"Not compared as the gate does: {one_line(found.unmet)}.", soft_wrap=True)
    console.print(_figures(found))


def gate_sentence(meeting: Meeting, names: Sequence[str]) -> str:
    """What the gate would decide."""
    would = "would be promoted" if meeting.verdict.promoted else "would not be promoted"
    return (
        f"As the gate decides: {names[1]} {would} over {names[0]}; both drawn from again, {meeting.generated} images "
        f"each, on the same {meeting.real} held-out images."
    )


def gate_cells(row: GateRow) -> tuple[str, str, str, str]:
    """First run, second run, their difference and the limit; of near copies, which only the second has, the share."""
    limit = "–" if row.limit is None else exact(row.limit)
    if row.champion is None and row.difference is not None:
        most = percent(max(row.difference.high, 0.0))
        shown = f"no sign, at most {most}" if row.difference.low <= 0 else f"{percent(row.difference.low)} to {most}"
        return "–", shown, "–", limit
    decimals = decimals_of(row.difference)
    first, second = ("–" if each is None else number(each, decimals) for each in (row.champion, row.challenger))
    return first, second, "–" if row.difference is None else estimate(row.difference), limit


def run_row(subject: Subject) -> tuple[str, ...]:
    """Of a run the cells of `RUN_COLUMNS`."""
    version = "–" if subject.version is None else " ".join((subject.version, *subject.aliases))
    when = datetime.fromtimestamp(subject.started_ms / 1000, UTC)
    took = "–" if subject.trained_s is None else duration(subject.trained_s)
    took += "" if subject.status == "FINISHED" else f" ({subject.status.lower()})"
    commit = f"{subject.commit[:_SHORT]}{', changed' if subject.changed else ''}" or "–"
    digests = (subject.data_sha256[:_SHORT] or "–", commit, subject.generator_sha256[:_SHORT] or "–")
    return (subject.called, subject.run_id[:_SHORT], version, f"{when:%Y-%m-%d %H:%M}", took, *digests)


def duration(seconds: float) -> str:
    """`82 s`, `12 min`, `3.4 h`."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{number(seconds / size, 0 if seconds >= 10 * size else 1)} {unit}"
    return f"{seconds:.0f} s"


def _runs(subjects: Sequence[Subject]) -> Table:
    table = Table(*RUN_COLUMNS, title="Runs", title_justify="left")
    for each in subjects:
        table.add_row(*map(one_line, run_row(each)))
    return table


def _parameters(found: Findings) -> Table:
    table = Table("parameter", *map(one_line, found.names), title="Parameters that differ", title_justify="left")
    for each in found.parameters:
        table.add_row(each.name, *("–" if value is None else one_line(value) for value in each.values))
    return table


def _figures(found: Findings) -> Table:
    columns = [Column(one_line(name), justify="right") for name in found.names]
    table = Table(
        "figure", *columns, "conclusion", title=f"Figures, estimate and interval{_level(found)}", title_justify="left"
    )
    for row in found.figures:
        better = meaning(row.name).better
        name = f"{row.name} ({better} is better)" if better != "neither" else row.name
        equal = row.verdict == "no difference"
        table.add_row(name, *_cells(row), one_line(row.verdict), style=_EQUAL if equal else "")
    return table


def _level(found: Findings) -> str:
    figures = (figure for row in found.figures for figure in row.figures if figure is not None)
    level = next((figure.interval.level for figure in figures if figure.interval is not None), None)
    return "" if level is None else f", {level:.0%}"


def _cells(row: Row) -> Iterator[Text]:
    for place, figure in enumerate(row.figures):
        yield Text(_cell(figure), style=_BEST if place in row.best else "")


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return number(figure.value) if figure.interval is None else estimate(figure.interval)


def _gate(meeting: Meeting, names: Sequence[str]) -> Table:
    columns = [Column(one_line(name), justify="right") for name in (*names, "difference", "limit")]
    table = Table(
        "compared as the gate does", *columns, "", title="The same real images for both", title_justify="left"
    )
    marks = {True: "passed", False: "failed", None: ""}
    for row in meeting.verdict.table:
        table.add_row(title(row.name), *gate_cells(row), marks[row.passed])
    return table
