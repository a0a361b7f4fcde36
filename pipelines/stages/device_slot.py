"""One training at a time on a GPU: a lock for each device, over all projects of a user on this machine."""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from ganlib.config import FlowOptions
from pipelines.graph.locking import hold
from pipelines.stages.shell import say


@contextmanager
def device_slot(devices: Collection[torch.device], options: FlowOptions) -> Iterator[None]:
    """Hold the devices alone while the block runs, waiting as long as it takes and saying for whom.

    CPUs are shared, and so are GPUs where `flow.share_gpu` allows it.
    """
    names = set() if options.share_gpu else {_uuid(device) for device in devices if device.type == "cuda"}
    with _held(names):
        yield


@contextmanager
def _held(names: Collection[str]) -> Iterator[None]:
    """All of them; in one order for all, so that no two hold what the other waits for."""
    folder = Path(tempfile.gettempdir(), f"ganlib-{os.getuid()}")  # of one user: others could not open the files
    with ExitStack() as slots:
        for name in sorted(names):
            slots.enter_context(hold(folder / f"{name}.lock", on_wait=say, doing=f"in {Path.cwd()}"))
        yield


def _uuid(device: torch.device) -> str:
    """Of the device itself, whatever number it has in this process."""
    return str(torch.cuda.get_device_properties(device).uuid)
