"""With what a generator was made: versions of libraries, and the hardware. Both may move its last bits."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from pydantic import RootModel

# The numbers come from these.
_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow", "opencv-python-headless", "torch-fidelity")
_PROCESSORS = Path("/proc/cpuinfo")

Machine = RootModel[dict[str, str]]


def machine() -> Mapping[str, str]:
    """Names and versions of this machine and this environment."""
    import torch

    found = {"system": platform.platform(), "processor": _processor(), "cores": str(os.cpu_count())}
    if torch.cuda.is_available():
        found["devices"] = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        found["CUDA"] = str(torch.version.cuda)
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {**found, "python": platform.python_version(), **versions}


def _processor() -> str:
    """Its model; where the system does not tell, its kind."""
    if _PROCESSORS.exists():
        for line in _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
