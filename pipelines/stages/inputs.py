"""What a stage reads, as DVC sees it: DVC records it when the stage ends, so it must be what it was at the start."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ganlib.errors import UserError
from pipelines.graph.differences import few, flat, parameter_changes

STAGE_VARIABLE = "DVC_STAGE"


class InputsChanged(Exception):
    """A parameter or file that the stage depends on is not what it was; the message is one line."""


@contextmanager
def unchanged_inputs(name: str) -> Iterator[None]:
    """Where DVC runs the stage: fail afterwards if its parameters or dependencies have changed meanwhile.

    Raises:
        InputsChanged: they have. DVC then records nothing.
        UserError: DVC cannot read them any more.
    """
    if STAGE_VARIABLE not in os.environ:
        yield  # by hand; nothing is recorded
        return
    from dvc.repo import Repo

    with Repo() as repo:
        # Kept for the end: DVC, too, reads dvc.yaml once.
        stage = repo.stage.load_one(name=name)
        before = _read(stage)
        yield
        if changes := _changes(before, _read(stage)):
            raise InputsChanged(
                f"{name}: {few(changes)} while this ran, and its result belongs to the former state: restore that "
                "and run again to keep the result, or run again with the new state"
            )


@dataclass(frozen=True)
class _Inputs:
    """Parameters by their dotted names, and the digest of each dependency; None where it is not there."""

    parameters: Mapping[str, object]
    digests: Mapping[str, str | None]


def _read(stage: Any) -> _Inputs:
    from dvc.dependency.param import ParamsDependency
    from dvc.exceptions import DvcException

    parameters: dict[str, object] = {}
    digests: dict[str, str | None] = {}
    for dep in stage.deps:
        try:
            if isinstance(dep, ParamsDependency):
                parameters |= flat(dep.read_params(flatten=False))
            else:
                digests[str(dep)] = dep.get_hash().value if dep.exists else None
        except DvcException as error:
            raise UserError(f"{stage.name}: {' '.join(str(error).split())}; correct it and run again") from None
    return _Inputs(parameters, digests)


def _changes(before: _Inputs, after: _Inputs) -> list[str]:
    return parameter_changes(before.parameters, after.parameters) + [
        f"{path} changed" for path, digest in before.digests.items() if digest != after.digests[path]
    ]
