"""Which device computes, how it multiplies float32 numbers, and whether it picks the same kernels each time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def device_named(name: str) -> torch.device:
    """The device of a `device` parameter: `auto` is the GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def allow_tf32(allowed: bool) -> None:
    """Let CUDA's products and convolutions round float32 to TF32, or not; PyTorch's own default is half of each.

    Through the older switches: once the newer ones are set, reading the older ones raises, as
    `torch.backends.cudnn.flags` and other libraries do.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Full float32 and kernels that do not depend on what was timed, whatever a training has set."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    allow_tf32(False)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
