"""Safetensors files that others may read as any other file."""

import stat
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a file with the mode that the umask leaves; `save_file` by itself makes one for its owner alone.

    Raises:
        OSError, safetensors.SafetensorError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    save_file(dict(tensors), path, metadata=None if metadata is None else dict(metadata))
    path.chmod(mode)
