"""What a training asks of the machine, checked before any work starts."""

import os
import shutil
import sys

from ganlib.config import RunConfig, TrainOptions, check_batch
from ganlib.errors import UserError


def check_devices(options: TrainOptions) -> None:
    """See that the machine has what `train` asks for; changes nothing and starts no device.

    Torch is imported only for what an ordinary CPU lacks, so that checking the
    usual parameters is instant.

    Raises:
        UserError: a CUDA device, or as many devices, as there are not; a precision or a CUDA graph
            that the CPU lacks; a batch that does not divide over the devices found; a compiler
            that `train.compile` needs.
    """
    found = _cuda_devices(options)
    if options.device != "auto" and options.device != "cpu":
        _check_cuda_index(options.device, found)
    on_cpu = options.device == "cpu" or not found
    if on_cpu and options.precision in ("tf32", "fp16"):
        raise UserError(f"train.precision={options.precision}: needs a CUDA device, found none; set it to fp32 or bf16")
    if on_cpu and options.cuda_graph:
        raise UserError("train.cuda_graph=true: needs a CUDA device, found none; set it to false")
    if options.compile:
        _check_compiler(on_cpu)
    if options.devices == "auto":
        _check_batch(options, 1 if on_cpu else found)
        return
    available, kind = (_cpu_cores(), "CPU cores") if on_cpu else (found, "CUDA devices")
    if options.devices > available:
        raise UserError(
            f"train.devices={options.devices}: more than the {available} {kind} found; lower it or set it to auto"
        )


def _cuda_devices(options: TrainOptions) -> int:
    """How many CUDA devices there are; 0 where it makes no difference."""
    plain = not options.cuda_graph and not options.compile
    modest = options.precision in ("fp32", "bf16") and plain and options.devices == 1
    if options.device == "cpu" or (options.device == "auto" and modest):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _check_cuda_index(device: str, found: int) -> None:
    if not found:
        raise UserError(f"train.device={device}: found no CUDA device; set it to auto or cpu")
    index = int(device.partition(":")[2] or 0)
    if index >= found:
        raise UserError(f"train.device={device}: found {found} CUDA devices, numbered from 0; lower the number")


def _check_compiler(on_cpu: bool) -> None:
    """See that there is what torch.compile calls: C++ for kernels of a CPU, C for the launchers of a GPU's."""
    variable, language, usual = (
        ("CXX", "C++", ["clang++" if sys.platform == "darwin" else "g++"]) if on_cpu else ("CC", "C", ["gcc", "clang"])
    )
    wanted = [os.environ[variable]] if variable in os.environ else usual
    if not any(shutil.which(each.split(" ")[0]) for each in wanted):
        raise UserError(
            f"train.compile=true: needs a {language} compiler, found no {' or '.join(wanted)}; "
            f"install one, name one in {variable}, or set it to false"
        )


def _cpu_cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    else:
        return os.cpu_count() or 1


def check_shares(config: RunConfig, devices: int) -> None:
    """See that a batch falls into equal parts over so many devices.

    Raises:
        UserError: it does not.
    """
    _check_batch(config.train, devices)
    try:
        config.check_parts(devices)
    except ValueError as error:
        raise UserError(str(error)) from None


def _check_batch(options: TrainOptions, devices: int) -> None:
    try:
        check_batch(options.batch_size, devices=devices, accumulation=options.accumulation)
    except ValueError as error:
        raise UserError(f"train.{error}") from None
