"""Where and how precisely the arithmetic is done."""

import os

import torch

from ganlib.config import TrainOptions
from ganlib.errors import UserError

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def prepare_device(options: TrainOptions) -> torch.device:
    """Set thread count and determinism for this process; return the device.

    Raises:
        UserError: a CUDA device is asked for and there is none.
    """
    torch.set_num_threads(options.threads)
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if (device.index or 0) >= found:
            raise UserError(f"train.device={options.device}: found {found} CUDA devices; set it to auto or cpu")
        torch.backends.cudnn.benchmark = not options.deterministic
        # cuBLAS repeats its bits only with a fixed workspace; it reads this when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(options.deterministic)
    return device


def autocast(options: TrainOptions, device: torch.device) -> torch.autocast:
    """The context of the networks' forward passes: bf16 where asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bf16")
