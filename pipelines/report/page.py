"""`reports/report.html`: one file that holds all it shows."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ganlib.errors import UserError
from ganlib.evaluation.record import Conditions, Evaluation, Figure, Interval
from pipelines import paths
from pipelines.registry.verdict import Registration, Row
from pipelines.report.charts import Chart, Line, line_chart, whiskers
from pipelines.report.facts import Facts, Picture, Points
from pipelines.report.meanings import MEANINGS, in_order, meaning, title
from pipelines.report.rendering import render, replace_text
from pipelines.report.rounding import decimals_of, estimate, exact, number
from pipelines.tracking.descriptions import reproduction

CHAPTERS = {
    "beside": "Real beside generated",
    "samples": "Samples of each class",
    "training": "Training",
    "metrics": "Metrics",
    "classes": "Classes, worst first",
    "copying": "Copies of training images",
    "latent": "Latent space",
    "data": "Data",
    "lineage": "Lineage and commands",
    "glossary": "Glossary",
}
# What there is to say of a translator alone, and of other generators alone.
OF_TRANSLATORS = {"translation": "Translations"}
OF_OTHERS = frozenset({"beside", "samples", "classes", "copying", "latent"})
# More of them are folded.
CLASSES_SHOWN = 20
# Of the grid of samples: its rows and columns are ten at most.
CELLS_AT_MOST = 100
# Small pictures are enlarged by a whole factor up to this width.
PICTURE_WIDTH_PX = 704


def write_page(facts: Facts, registration: Registration, path: Path, *, champion: Evaluation | None = None) -> None:
    """Write the page; the same facts give the same bytes.

    Args:
        facts: of the registered generator.
        registration: the decision about it.
        path: of the HTML file, which is replaced as a whole or not at all.
        champion: figures of the one it met, shown where they were measured alike; None where they are not at hand.

    Raises:
        UserError: the decision is about another generator.
    """
    if registration.generator_sha256 != facts.generator_sha256:
        raise UserError(
            f"{paths.REGISTRATION}: about generator {registration.generator_sha256[:16]}…, expected "
            f"{facts.generator_sha256[:16]}…; run the register stage again"
        )
    alike = champion if champion is not None and champion.measured_on == facts.evaluation.measured_on else None
    text = render(
        "report.html",
        facts=facts,
        chapters=_chapters(facts),
        paths=paths,
        registration=registration,
        badge=_badge(registration),
        verdict_rows=[verdict_row(row) for row in registration.verdict.table],
        metrics=list(_metric_rows(facts.evaluation, registration, alike)),
        champion_alike=alike is not None,
        conditions=_conditions(facts.evaluation.metrics),
        training=_training_charts(facts),
        truncation=_truncation_charts(facts.evaluation),
        classes_shown=CLASSES_SHOWN,
        columns=_column_names(facts),
        cells_at_most=CELLS_AT_MOST,
        commands=commands(facts, registration),
        meanings=MEANINGS,
        enlarged=_enlarged,
    )
    replace_text(path, text)


def _chapters(facts: Facts) -> dict[str, str]:
    """Names of the chapters by their places in the page."""
    if facts.generator.inputs is not None:
        return OF_TRANSLATORS | {place: name for place, name in CHAPTERS.items() if place not in OF_OTHERS}
    found = {place: name for place, name in CHAPTERS.items() if place != "classes" or facts.evaluation.classes}
    return found if facts.generator.network.conditional else found | {"samples": "Samples"}


def _badge(registration: Registration) -> str:
    if registration.verdict.promoted:
        return "Promoted to champion"
    return "Champion, but not by the gate" if "champion" in registration.aliases else "Not promoted"


@dataclass(frozen=True)
class VerdictRow:
    """One line of the verdict as text."""

    title: str
    challenger: str
    champion: str
    difference: str
    limit: str
    mark: str
    note: str


def verdict_row(row: Row) -> VerdictRow:
    """The cells of a line, with no more digits than the difference's interval warrants."""
    decimals = decimals_of(row.difference)
    marks = {True: "passed", False: "failed", None: "decides nothing"}
    return VerdictRow(
        title=title(row.name),
        challenger=_or_dash(row.challenger, decimals),
        champion=_or_dash(row.champion, decimals),
        difference=_or_dash(row.difference),
        limit="–" if row.limit is None else exact(row.limit),
        mark=marks[row.passed],
        note=row.note,
    )


def _or_dash(found: float | Interval | None, decimals: int | None = None) -> str:
    match found:
        case None:
            return "–"
        case Interval():
            return estimate(found)
    return number(found, decimals)


def _guarded(row: str, extractor: str) -> str:
    """The metric behind a row of the verdict, by the name that the evaluation gives it; rows of metrics have it."""
    name = row.replace(" ", "_")
    return f"{'domain' if name == 'label_fidelity' else extractor}/{name}" if "/" not in row else row


@dataclass(frozen=True)
class _MetricRow:
    name: str
    value: str
    estimate: str
    champion_value: str
    champion_estimate: str
    drawing: Markup


def _metric_rows(
    evaluation: Evaluation, registration: Registration, champion: Evaluation | None
) -> Iterator[_MetricRow]:
    theirs: Mapping[str, Figure] = {} if champion is None else champion.metrics
    extractor = registration.metric.partition("/")[0]
    met = {_guarded(row.name, extractor): row.champion for row in registration.verdict.table}
    for name in in_order(evaluation.metrics):
        figure = evaluation.metrics[name]
        other = theirs.get(name)
        decimals = decimals_of(figure.interval)
        yield _MetricRow(
            name=name,
            value=number(figure.value, decimals),
            estimate=_or_dash(figure.interval),
            champion_value=_or_dash(met.get(name) if other is None else other.value, decimals),
            champion_estimate=_or_dash(None if other is None else other.interval),
            drawing=whiskers(figure, other, share=meaning(name).share),
        )


def _conditions(metrics: Mapping[str, Figure]) -> list[tuple[Conditions, list[str]]]:
    """What was measured on what; figures with the same conditions together."""
    found: dict[Conditions, list[str]] = {}
    for name in in_order(metrics):
        found.setdefault(metrics[name].conditions, []).append(name)
    return list(found.items())


def _training_charts(facts: Facts) -> list[Chart]:
    shown, curves = "images shown", facts.curves
    return _drawn(
        line_chart("Fréchet distance to the training split", shown, _lines(facts.snapshots, {"fid": "snapshots"})),
        line_chart("Losses", shown, _lines(curves, {"loss/critic": "critic", "loss/generator": "generator"})),
        line_chart(
            "Evidence bound, nats for each value of a pixel",
            shown,
            _lines(curves, {"evidence/bound": "bound", "evidence/log_likelihood": "likelihood"}),
        ),
        line_chart(
            "Divergence of the posterior from the prior, nats for each value of a pixel",
            shown,
            _lines(curves, {"evidence/divergence": "divergence"}),
        ),
        line_chart(
            "Critic's logits", shown, _lines(curves, {"logits/real": "real images", "logits/fake": "generated images"})
        ),
    )


def _lines(columns: Mapping[str, Points], names: Mapping[str, str]) -> list[Line]:
    return [Line(name, columns[column]) for column, name in names.items() if column in columns]


def _drawn(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def _truncation_charts(evaluation: Evaluation) -> list[Chart]:
    """Distance, quality and diversity over psi."""

    def line(name: str) -> Line:
        points = ((point.psi, point.figures[name]) for point in evaluation.truncation if name in point.figures)
        return Line(meaning(name).title, tuple(points))

    return _drawn(
        line_chart("Distance", "ψ", [line("fid")]),
        line_chart("Quality and diversity", "ψ", [line("precision"), line("recall")]),
    )


def _column_names(facts: Facts) -> tuple[str, ...]:
    """The classes of the grid's columns from left to right; empty where a column is no class."""
    grid, image = facts.pictures.get(paths.SAMPLES), facts.manifest.image
    if grid is None or not facts.generator.network.conditional:
        return ()
    # A line of one pixel parts the images; each pixel may be repeated.
    return () if grid.width % (image.num_classes * (image.size + 1) - 1) else image.classes


def _enlarged(picture: Picture) -> int:
    return max(1, PICTURE_WIDTH_PX // picture.width)


def commands(facts: Facts, registration: Registration) -> list[tuple[str, str]]:
    """(what it does, command) to make the generator again, to use it and to change the decision."""
    model = shlex.quote(registration.model_name)
    found = [
        *reproduction(facts.lineage.get("git_commit")),
        ("a grid of samples", "gan sample --seed 0 --output samples.png")
        if facts.generator.inputs is None
        else ("translations of image files", "gan translate IMAGE… --output translated"),
        ("who was champion when, and why", f"gan history --model {model}"),
    ]
    if "champion" in registration.aliases:
        found.append(("back to the champion before", f"gan rollback --model {model} --reason 'why'"))
    else:
        found.append(
            ("champion all the same", f"gan promote {shlex.quote(registration.version)} --model {model} --reason 'why'")
        )
    return found
