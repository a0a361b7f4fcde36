"""The machine that trains: its device, cores and memory."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from ganlib.errors import UserError

GIB = 2**30
LEAST_FREE_GIB = 1.5
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """`gpu` is the name of the first CUDA device, None without one; memory is what is free now."""

    gpu: str | None
    cores: int
    free_gib: float

    @property
    def told(self) -> str:
        """In a few words."""
        device = self.gpu or "no GPU"
        return (
            f"{device}, {self.cores} CPU core{'' if self.cores == 1 else 's'}, {self.free_gib:.1f} GiB of memory free"
        )


def this_machine() -> Machine:
    """What there is."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return Machine(gpu, cores, _free_bytes() / GIB)


def check_memory(machine: Machine) -> None:
    """Refuse a machine on which no training would end well.

    Raises:
        UserError: too little memory is free.
    """
    if machine.free_gib < LEAST_FREE_GIB:
        raise UserError(
            f"memory: {machine.free_gib:.1f} GiB are free, the smallest training needs {LEAST_FREE_GIB:g} GiB; close "
            "other programs or use another machine"
        )


def _free_bytes() -> int:
    """What the system has free, or what is left of a container's limit where that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - used)
