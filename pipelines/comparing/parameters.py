"""Parameters of several runs: which of them differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ganlib.errors import UserError


@dataclass(frozen=True)
class Difference:
    """A parameter by its dotted name, and its value in each run as text; None where the run has none."""

    name: str
    values: tuple[str | None, ...]


def read_parameters(path: Path) -> Mapping[str, str]:
    """The values of a params.yaml by dotted names, whatever version of the code it was for.

    Raises:
        UserError: it is no parameters file.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: found {type(values).__name__}, expected sections such as data, network and train")
    return dict(_flat(values))


def differing(parameters: Sequence[Mapping[str, str] | None]) -> list[Difference]:
    """Those that are not the same in all runs whose parameters are recorded, in the order of the files."""
    recorded = [each for each in parameters if each is not None]
    names = dict.fromkeys(name for each in recorded for name in each)
    return [
        Difference(name, tuple(None if each is None else each.get(name) for each in parameters))
        for name in names
        if len({each.get(name) for each in recorded}) > 1
    ]


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
