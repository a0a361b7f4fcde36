"""The tables of a run: what it will do; at its end stages, metrics with intervals, verdict, where to look next."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pipelines import paths
from pipelines.console import plain_console
from pipelines.graph.dag import StageOutcome
from pipelines.graph.differences import few
from pipelines.graph.plan import PlannedStage
from pipelines.report.plainly import copies_told, way_rows
from pipelines.report.rounding import decimals_of, number, span

if TYPE_CHECKING:
    from ganlib.evaluation.record import Evaluation
    from pipelines.registry.verdict import Registration, Verdict

METRIC_COLUMNS = ("metric", "estimate", "interval", "as papers report it")
VERDICT_COLUMNS = ("gate", "challenger", "champion", "difference", "limit", "")
VERDICT_NOTE = "Values as papers report them; differences and their intervals are free of the bias of few images."
STATUS_TEXT = {"ran": "ran", "cached": "restored from cache", "unchanged": "up to date"}


def show(project: Path, outcomes: Sequence[StageOutcome], *, here: bool = True) -> None:
    """Print the summary of a finished run, and, where its files stay `here`, where to look next."""
    from ganlib.evaluation.record import Evaluation
    from pipelines.registry.verdict import Registration

    console = plain_console(100)
    console.print()
    console.print(_stages(outcomes))
    evaluation = Evaluation.read(project / paths.EVALUATION) if (project / paths.EVALUATION).exists() else None
    if evaluation is not None:
        _show_evaluation(console, evaluation)
    if (project / paths.REGISTRATION).exists():
        _show_registration(console, Registration.read(project / paths.REGISTRATION))
    if not any(outcome.status == "ran" for outcome in outcomes):
        console.print("Nothing has changed since the last run; all stages are up to date.")
    if not here:
        return
    translates = evaluation is not None and evaluation.translation is not None
    tries = (
        "`gan translate IMAGE -o DIR` translates images."
        if translates
        else "`gan sample --seed 1` draws more images; `gan judge IMAGE` says how real one is; "
        "`gan quiz` lets people tell."
    )
    looks = f"Next: open {paths.REPORT}; `make ui` compares runs; `dvc plots show` draws the curves"
    console.print(f"{looks}; {tries}", soft_wrap=True)


def headline(project: Path, outcomes: Sequence[StageOutcome]) -> str:
    """What came of a run, in a line: the gate's verdict, or that there was nothing to do."""
    from pipelines.registry.verdict import Registration

    if all(outcome.status == "unchanged" for outcome in outcomes):
        return "nothing to do: all stages are up to date"
    if not (project / paths.REGISTRATION).exists():
        return "done; no version was registered"
    found = Registration.read(project / paths.REGISTRATION)
    title, reason = verdict_title(found.verdict), found.verdict.reason.rstrip(".")
    told = reason if reason.lower().startswith(title) else f"{title.capitalize()}: {reason}"
    return f"{told} ({found.model_name}, version {found.version})"


def show_plan(planned: Sequence[PlannedStage]) -> None:
    """Print which stages will run, why, and how long they took last time."""
    table = Table("stage", "plan", "why", title="What a run will do", title_justify="left")
    table.add_column("seconds last time", justify="right")
    for each in planned:
        table.add_row(each.stage.name, each.intent, few(each.why), "" if each.last_s is None else f"{each.last_s:.1f}")
    console = plain_console(120)
    console.print(table)
    due = [each for each in planned if each.intent != "unchanged"]
    if not due:
        console.print("Nothing has changed since the last run; all stages are up to date.")
        return
    known = sum(each.last_s for each in due if each.last_s is not None)
    unknown = [each.stage.name for each in due if each.last_s is None]
    told = f"At most about {known:.0f} s, by the last times on this machine" if known else "How long is not known yet"
    without = f", without {', '.join(unknown)}, which never ran here" if known and unknown else ""
    console.print(f"{told}{without}; less where DVC restores results of an earlier run.", soft_wrap=True)


def _stages(outcomes: Sequence[StageOutcome]) -> Table:
    table = Table("stage", "", title="Stages", title_justify="left")
    table.add_column("seconds", justify="right")
    for outcome in outcomes:
        table.add_row(outcome.name, STATUS_TEXT[outcome.status], f"{outcome.seconds:.1f}")
    return table


def _show_evaluation(console: Console, found: "Evaluation") -> None:
    console.print(_metrics(found))
    if found.translation is not None:
        for name, gain in found.translation.gains.items():
            told = f"{name}: {number(gain.made.estimate)}, of the inputs {number(gain.given.estimate)}"
            console.print(f"Translations, {told}; difference {span(gain.difference)}", soft_wrap=True)
        kinds = " and ".join(f"to {way.made}" for way in found.translation.ways)
        for name, texts in way_rows(found.translation.ways):
            console.print(f"{name}, {kinds}: {' and '.join(texts)}", soft_wrap=True)
    for space, copying in found.memorisation.items():
        console.print(f"Near copies of training images, by {space}: {copies_told(copying)}", soft_wrap=True)
    for name, reason in found.skipped.items():
        console.print(f"Left out: {name} ({reason})", soft_wrap=True)


def _metrics(found: "Evaluation") -> Table:
    if not found.metrics:
        return Table(title="No metric could be measured", title_justify="left")
    first = next(iter(found.metrics.values())).conditions
    table = Table(
        "metric",
        title=f"{first.generated_count} generated against {first.reference_count} held-out images",
        title_justify="left",
    )
    for column in METRIC_COLUMNS[1:]:
        table.add_column(column, justify="right")
    for row in metric_rows(found):
        table.add_row(*row)
    return table


def metric_rows(found: "Evaluation") -> Iterator[tuple[str, str, str, str]]:
    """Of each metric the cells of `METRIC_COLUMNS`; the Fréchet distance of real images, its floor, last."""
    floors = {name for name in found.metrics if name.endswith("/fid_floor")}
    for name, figure in found.metrics.items():
        if name not in floors:
            sure, decimals = figure.interval, decimals_of(figure.interval)
            known = ("", "") if sure is None else (number(sure.estimate, decimals), span(sure))
            yield name, *known, number(figure.value, decimals)
    for name in sorted(floors):
        floor, fid = found.metrics[name].value, found.metrics.get(name.removesuffix("_floor"))
        ratio = f"fid is {fid.value / floor:.2f} × this" if fid is not None and floor > 0 else ""
        yield f"{name} (real training split)", "", ratio, number(floor)


def verdict_rows(verdict: "Verdict") -> Iterator[tuple[str, ...]]:
    """Of each line of the verdict the cells of `VERDICT_COLUMNS`."""
    for row in verdict.table:
        decimals = decimals_of(row.difference)
        figures = ("" if each is None else number(each, decimals) for each in (row.challenger, row.champion))
        limit = "" if row.limit is None else f"{row.limit:g}"
        mark = "" if row.passed is None else "passed" if row.passed else "failed"
        yield row.name, *figures, "" if row.difference is None else span(row.difference), limit, mark


def verdict_title(verdict: "Verdict") -> str:
    """In two words."""
    return "promoted" if verdict.promoted else "not promoted"


def _show_registration(console: Console, found: "Registration") -> None:
    table = Table("gate", title=f"Gate: {verdict_title(found.verdict)}", caption=VERDICT_NOTE, title_justify="left")
    for column in VERDICT_COLUMNS[1:]:
        table.add_column(column, justify="right")
    for row in verdict_rows(found.verdict):
        table.add_row(*row)
    console.print(found.verdict.reason, soft_wrap=True)
    console.print(table)
    if found.remeasured:
        why = "data, settings or code have changed since it was"
        console.print(f"Version {found.champion_version} was measured again, as {why}.", soft_wrap=True)
