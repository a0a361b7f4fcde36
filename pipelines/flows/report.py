"""A run for people: its data's quality as a table; its stages, metrics, verdict and links as Markdown."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ganlib.datasets.packed.manifest import QUARANTINE
from ganlib.evaluation.record import Evaluation
from pipelines import paths
from pipelines.graph.dag import StageOutcome
from pipelines.registry.verdict import Registration
from pipelines.summary import (
    METRIC_COLUMNS,
    VERDICT_COLUMNS,
    VERDICT_NOTE,
    headline,
    metric_rows,
    verdict_rows,
    verdict_title,
)
from pipelines.tracking.store import redact, store_uri


def data_quality(report: Path) -> tuple[list[dict[str, object]], str]:
    """The unusual files that the preprocess stage met, as rows, the most frequent first; and how many it left out."""
    figures = json.loads(report.read_text(encoding="utf-8"))
    cases = [(count, *name.split("/")[1:]) for name, count in figures.items() if name.startswith("cases/")]
    rows: list[dict[str, object]] = [
        {"kind": kind, "action": action, "count": count}
        for count, kind, action in sorted(cases, key=lambda case: (-case[0], case[1:]))
    ]
    left_out = f"{figures['dropped']} of {figures['files']} files left out ({figures['dropped_share']:.2%})"
    none: dict[str, object] = {"kind": "none", "action": "", "count": 0}
    return rows or [none], f"{left_out}; all cases are listed in {paths.PROCESSED / QUARANTINE}"


def result_markdown(project: Path, outcomes: Sequence[StageOutcome]) -> str:
    """What a run left behind, read from the project's reports; parts that no stage wrote are left out."""
    chapters = [
        f"**{headline(project, outcomes)}**\n",
        _table("Stages", ("stage", "outcome", "seconds"), map(_stage_row, outcomes)),
    ]
    if (project / paths.EVALUATION).exists():
        found = Evaluation.read(project / paths.EVALUATION)
        chapters.append(_table("Metrics", METRIC_COLUMNS, metric_rows(found)))
    if (project / paths.REGISTRATION).exists():
        verdict = Registration.read(project / paths.REGISTRATION).verdict
        table = _table(f"Gate: {verdict_title(verdict)}", VERDICT_COLUMNS, verdict_rows(verdict))
        chapters.append(f"{table}\n{VERDICT_NOTE}\n")
    uri = redact(store_uri())
    if uri.startswith(("http://", "https://")):
        chapters.append(f"[Runs and models in MLflow]({uri})\n")
    else:
        chapters.append("`gan ui` in the project's folder shows runs and models in MLflow.\n")
    return "\n".join(chapters)


def _stage_row(outcome: StageOutcome) -> tuple[str, ...]:
    return outcome.name, outcome.status, f"{outcome.seconds:.1f}"


def _table(title: str, header: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"## {title}", "", _row(header), _row(["---"] * len(header)), *map(_row, rows), ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
