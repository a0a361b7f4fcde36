"""What a stage reads or wrote, and how it differs from what it was, in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

MOST_TOLD = 4
_MISSING = "nothing"
_LONGEST = 60
# What DVC says of a dependency, and of an output.
_READ = {"modified": "changed", "new": "is new", "deleted": "is missing"}
_WRITTEN = {
    "modified": "is not what it wrote",
    "new": "was never recorded",
    "deleted": "is not here",
    "not in cache": "is not in DVC's cache",
}


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Parameters by their dotted names."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def parameter_changes(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Which of two flat sets differ, from what to what."""
    return [
        f"{name} changed from {_shown(old.get(name, _MISSING))} to {_shown(new.get(name, _MISSING))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name, _MISSING) != new.get(name, _MISSING)
    ]


def few(changes: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(changes) - MOST_TOLD} more" if len(changes) > MOST_TOLD else ""
    return f"{'; '.join(changes[:MOST_TOLD])}{more}"


def why_stale(stage: "PipelineStage") -> tuple[str, ...]:
    """What differs from dvc.lock, for a stage that DVC finds changed: parameters, files read, files written."""
    from dvc.dependency.param import ParamsDependency

    if not any(out.hash_info for out in stage.outs):
        return ("it has not run yet",)
    found = []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            before = flat(dep.hash_info.value or {})
            found += parameter_changes(before, flat(dep.read_params()))
        else:
            found += [f"{path} {_READ.get(what, what)}" for path, what in dep.status().items()]
    for out in stage.outs:
        found += [f"{path} {_WRITTEN.get(what, what)}" for path, what in out.status().items()]
    if stage.changed_stage():
        found.append("its entry in dvc.yaml changed")
    return tuple(found)


def _shown(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
