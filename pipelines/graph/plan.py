"""What a run will do before it does it: which stages, why, and how long they took last time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.graph.dag import Stage
from pipelines.graph.durations import last_seconds

Intent = Literal["runs", "runs if its inputs change", "unchanged"]


@dataclass(frozen=True)
class PlannedStage:
    """What becomes of a stage.

    Attributes:
        stage: of the graph.
        intent: behind a stage that runs, the next one runs only if the outputs of that one differ.
        why: what differs from the last run, or which stages it waits for.
        last_s: seconds that it took when it last ran on this machine; None where it never did.
    """

    stage: Stage
    intent: Intent
    why: tuple[str, ...]
    last_s: float | None


def plan(
    project: Path, graph: Sequence[Stage], changed: Mapping[str, tuple[str, ...]], *, force: bool
) -> tuple[PlannedStage, ...]:
    """One entry for each stage of the graph.

    Args:
        project: its folder.
        graph: its stages, each after those it depends on.
        changed: what `dag.read_status` found.
        force: every stage runs.
    """
    return tuple(_planned(graph, changed, last_seconds(project), force=force))


def _planned(
    graph: Sequence[Stage], changed: Mapping[str, tuple[str, ...]], last: Mapping[str, float], *, force: bool
) -> Iterator[PlannedStage]:
    busy: set[str] = set()
    for stage in graph:
        waits_for = [name for name in stage.upstream if name in busy]
        intent: Intent = "unchanged"
        why: tuple[str, ...] = ()
        if force:
            intent, why = "runs", ("--force",)
        elif stage.name in changed:
            intent, why = "runs", changed[stage.name]
        elif waits_for:
            intent, why = "runs if its inputs change", (f"after {', '.join(waits_for)}",)
        if intent != "unchanged":
            busy.add(stage.name)
        yield PlannedStage(stage, intent, why, last.get(stage.name))
