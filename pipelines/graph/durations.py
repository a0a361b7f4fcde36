"""How long each stage took when it last ran on this machine."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipelines import paths


def remember(project: Path, stage: str, seconds: float) -> None:
    """Note it, for a run in place or in a worktree of the project; of runs that end together one may be lost."""
    file = _file(project)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps({**last_seconds(project), stage: round(seconds, 1)}), encoding="utf-8")
    partial.replace(file)


def last_seconds(project: Path) -> Mapping[str, float]:
    """By stage; those that never ran are not in it."""
    with suppress(OSError, ValueError):
        found: dict[str, float] = json.loads(_file(project).read_text(encoding="utf-8"))
        return found
    return {}


def _file(project: Path) -> Path:
    return project / paths.home_of(project) / paths.OWN_SCRATCH / paths.DURATIONS.name
