"""Checkpoints written by a thread while the training goes on."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ganlib.training.checkpoint import CheckpointStore


class CheckpointWriter:
    """Copies a moment's values, then writes them to a store while the training goes on, one checkpoint at a time.

    What goes wrong in the thread is raised by the next call of any method. Leaving the context waits for the last
    write, also after an error.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._write: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        self.wait()

    def save(self, values: Mapping[str, Any], *, milestone: bool) -> None:
        """Have `CheckpointStore.save` write what the values are now; first waits for the write before."""
        self.wait()
        self._write = self._thread.submit(self._save, _copied(values), _event(), milestone=milestone)

    def check(self) -> None:
        """Raise what has gone wrong, without waiting."""
        if self._write is not None and self._write.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is on the disk."""
        write, self._write = self._write, None
        if write is not None:
            write.result()

    def _save(self, values: Mapping[str, Any], copied: torch.cuda.Event | None, *, milestone: bool) -> Path:
        if copied is not None:
            copied.synchronize()
        return self._store.save(values, milestone=milestone)


def _copied(value: Any) -> Any:
    """The same on the CPU, in memory of its own; from a GPU into pinned memory, which the caller does not wait for."""
    if isinstance(value, Tensor):
        pinned = value.is_cuda
        return torch.empty_like(value, device="cpu", pin_memory=pinned).copy_(value.detach(), non_blocking=pinned)
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(each) for each in value)
    return value


def _event() -> torch.cuda.Event | None:
    """Of what the current device has been asked for so far; None without a GPU."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event
