"""What the C library does with memory that is freed."""

import ctypes
import sys

# glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 1024**2


def keep_freed_memory() -> None:
    """Have tensors take over the memory of earlier ones, in place of new pages of the system (Linux with glibc).

    A page costs a fault at its first use: together 5 to 10 % of a training on a CPU.
    """
    set_thresholds(mmap_mib=1024, trim_mib=2047, pad_mib=64)


def set_thresholds(*, mmap_mib: int, trim_mib: int, pad_mib: int) -> None:
    """Set glibc's thresholds, which then do not adapt themselves any more; other C libraries are left alone.

    Args:
        mmap_mib: from this size on, memory comes from the system and goes back at once.
        trim_mib: what is free at the end of the heap beyond this goes back.
        pad_mib: what the heap grows by beyond what is asked for.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    for parameter, mib in ((_MMAP_THRESHOLD, mmap_mib), (_TRIM_THRESHOLD, trim_mib), (_TOP_PAD, pad_mib)):
        if mallopt(parameter, mib * _MIB) != 1:
            raise OSError(f"mallopt({parameter}, {mib} MiB) was refused")
