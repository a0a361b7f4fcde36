"""The table at the end of a run: stages, metrics with their spread, verdict, where to look next."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines import paths
from pipelines.dag import StageOutcome

STATUS_TEXT = {"ran": "ran", "cached": "restored from cache", "unchanged": "up to date"}


def show(project: Path, outcomes: Sequence[StageOutcome]) -> None:
    """Print the summary of a finished run."""
    console = Console(width=None if Console().is_terminal else 100)
    console.print()
    console.print(_stages(outcomes))
    evaluation = read_report(project / paths.EVALUATION)
    if evaluation is not None:
        console.print(_metrics(evaluation["metrics"]))
    registration = read_report(project / paths.REGISTRATION)
    if registration is not None:
        console.print(f"Gate: {registration['reason']}", highlight=False, soft_wrap=True)
    if not any(outcome.status == "ran" for outcome in outcomes):
        console.print("Nothing has changed since the last run; all stages are up to date.")
    console.print(
        f"Next: look at {paths.SAMPLES} and {paths.REAL_AND_GENERATED}; `make ui` compares runs; "
        "`dvc plots show` draws the curves; `gan sample --seed 1` draws more images.",
        highlight=False,
        soft_wrap=True,
    )


def _stages(outcomes: Sequence[StageOutcome]) -> Table:
    table = Table("stage", "", title="Stages", title_justify="left")
    table.add_column("seconds", justify="right")
    for outcome in outcomes:
        table.add_row(outcome.name, STATUS_TEXT[outcome.status], f"{outcome.seconds:.1f}")
    return table


def _metrics(metrics: dict[str, dict[str, Any]]) -> Table:
    first = next(iter(metrics.values()))
    table = Table(
        "metric",
        title=f"Metrics on {first['reference_count']} held-out images; spread over {first['repeats']} draws "
        f"of {first['count']} generated ones",
        title_justify="left",
    )
    table.add_column("value", justify="right")
    table.add_column("spread", justify="right")
    for name, record in metrics.items():
        if not name.endswith("/fid_floor"):
            table.add_row(name, f"{record['value']:.4f}", "" if record["std"] is None else f"± {record['std']:.4f}")
    for name, record in metrics.items():
        if name.endswith("/fid_floor"):
            fid, floor = metrics[name.removesuffix("_floor")]["value"], record["value"]
            ratio = f"fid is {fid / floor:.2f} × this" if floor > 0 else ""
            table.add_row(f"{name} (real training split)", f"{floor:.4f}", ratio)
    return table


def read_report(path: Path) -> dict[str, Any] | None:
    """A report that a stage wrote; None where no stage has."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return value
