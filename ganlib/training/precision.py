"""Where and how precisely the arithmetic is done."""

import os

import torch

from ganlib.arithmetic import allow_tf32
from ganlib.config import TrainOptions
from ganlib.training.memory import keep_freed_memory
from ganlib.training.requirements import check_devices

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def device_type(options: TrainOptions) -> str:
    """`cpu` or `cuda`, as asked for and found."""
    return "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"


def prepare_device(options: TrainOptions, local_rank: int = 0) -> torch.device:
    """Set threads, determinism, memory and the precision of float32 products for this process; return its device.

    Raises:
        UserError: the options ask for a device, or for more devices, than there are.
    """
    check_devices(options)
    torch.set_num_threads(options.threads)
    device = torch.device(device_type(options) if options.device == "auto" else options.device)
    if device.type == "cuda":
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = not options.deterministic
        allow_tf32(options.precision == "tf32")
        # cuBLAS repeats its bits only with a fixed workspace; it reads this when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    else:
        keep_freed_memory()
    torch.use_deterministic_algorithms(options.deterministic)
    # Else deterministic mode fills every tensor that is about to be written: as many launches again, for nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def memory_format(options: TrainOptions) -> torch.memory_format:
    """How images and convolutions lie in memory."""
    return torch.contiguous_format if options.memory_format == "contiguous" else torch.channels_last


def autocast(options: TrainOptions, device: torch.device) -> torch.autocast:
    """The context of the networks' forward passes: half precision where asked for."""
    return torch.autocast(device.type, dtype=_HALVES.get(options.precision), enabled=options.precision in _HALVES)


def loss_scaler(options: TrainOptions, device: torch.device) -> torch.amp.GradScaler:
    """The scaler that keeps fp16 gradients from vanishing; it does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=options.precision == "fp16")
