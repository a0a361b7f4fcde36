"""What a flow needs before its first stage and takes seconds to start, each in a process of its own."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from ganlib.config import FlowOptions, RunConfig
from pipelines.graph.dvc_process import DvcProcess
from pipelines.graph.locking import Lock, hold_pipeline
from pipelines.registry.presence import registry_check

_at_hand: "ContextVar[Prepared | None]" = ContextVar("at_hand", default=None)


@dataclass(frozen=True)
class Prepared:
    """DVC, which reads the status, and the question to the registry, whose answer `registry_check` describes."""

    options: FlowOptions
    dvc: DvcProcess
    is_forgotten: Callable[[], bool]


def at_hand() -> Prepared | None:
    """What `prepared` has at hand for the flow that runs inside; None without."""
    return _at_hand.get()


@contextlib.contextmanager
def prepared(project: Path, config: RunConfig, *, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the project's lock, and prepare for the flow that runs inside, before Prefect is imported."""
    with hold_pipeline(project, on_wait=say) as lock, preparation(project, config, lock, say=say) as found:
        token = _at_hand.set(found)
        try:
            yield
        finally:
            _at_hand.reset(token)


@contextlib.contextmanager
def preparation(project: Path, config: RunConfig, lock: Lock, *, say: Callable[[str], None]) -> Iterator[Prepared]:
    """Both processes at work; they end with the context."""
    with (
        DvcProcess(project, lock=lock, timeout_s=max(config.flow.timeout_s.values())) as dvc,
        registry_check(project, config.tracking.experiment, say=say) as is_forgotten,
    ):
        yield Prepared(config.flow, dvc, is_forgotten)
