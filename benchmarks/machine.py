"""What the figures were measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil


def machine_facts(*packages: str, **more: Any) -> dict[str, Any]:
    """Processor, cores, memory, load of the last minute, the packages' versions, the date, and `more`."""
    return {
        "kind": processor(),
        "cores": os.cpu_count(),
        "memory GiB": round(psutil.virtual_memory().total / 2**30),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.system(),
        **{package: version(package) for package in packages},
        **more,
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor() -> str:
    """The model's name as the kernel knows it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
