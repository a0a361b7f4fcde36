"""What a training measures of its snapshots, for whoever watches it from another process."""

import json
from pathlib import Path

from ganlib.events import Event, EventSink, Scalars
from pipelines import paths


def measured_sink(metric: str, *, resumed: bool) -> EventSink:
    """A sink that keeps each value of the in-training metric, such as `domain/fid`, in this copy of the project.

    Args:
        metric: its name.
        resumed: whether what was measured before is of the same training.
    """
    if not resumed:
        paths.MEASURED.unlink(missing_ok=True)
    paths.MEASURED.parent.mkdir(parents=True, exist_ok=True)

    def keep(event: Event) -> None:
        if isinstance(event, Scalars) and metric in event.values:
            with paths.MEASURED.open("a", encoding="utf-8") as file:
                file.write(json.dumps([event.seen_images, float(event.values[metric])]) + "\n")

    return keep


def measured(project: Path) -> list[tuple[int, float]]:
    """What a training in a folder has measured so far: images shown and value, in order.

    Of a part that was trained twice the later value counts.
    """
    file = project / paths.MEASURED
    if not file.exists():
        return []
    whole = (line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n"))
    return sorted(dict(map(json.loads, whole)).items())
