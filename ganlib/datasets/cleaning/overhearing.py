"""What decoders written in C print to the error output, caught, as some tell of damage nowhere else."""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from typing import IO, TypeVar

Result = TypeVar("Result")

_ERROR_OUTPUT = 2
_SPOKEN_BY_DECODERS = re.compile(
    r"Corrupt JPEG|Premature end of JPEG|Invalid SOS|Inconsistent progression|Warning: unknown JFIF|libpng |"
    r"(_?TIFF|ZIP|LZW|LZMA|ZSTD|Fax|O?JPEG|PackBits|Predict|Log|Pixar|NeXT|Thunder|Dump|WebP|tempfile\.tif)\w*: "
)
# The error output belongs to the process: of several threads one at a time.
_turn = threading.Lock()


def overheard(work: Callable[[], Result]) -> tuple[Result, str]:
    """Do something, and return with its result what decoders said meanwhile, in lines; often nothing.

    Lines that other threads print to the error output in that time go there, afterwards.
    """
    with _turn:
        note = _notepad().fileno()
        real = os.dup(_ERROR_OUTPUT)
        try:
            os.dup2(note, _ERROR_OUTPUT, inheritable=True)
            result = work()
        finally:
            os.dup2(real, _ERROR_OUTPUT, inheritable=True)
            os.close(real)
            said = _taken(note)
    return result, said and _sorted_out(said)


@cache
def _notepad() -> IO[bytes]:
    if sys.platform == "linux":
        # In memory, as a full disk would swallow what they say.
        return os.fdopen(os.memfd_create("decoders"), "w+b", buffering=0)
    else:
        return tempfile.TemporaryFile()


# After a fork the two processes would write over each other.
os.register_at_fork(after_in_child=_notepad.cache_clear)


def _taken(note: int) -> str:
    length = os.lseek(note, 0, os.SEEK_CUR)
    if not length:
        return ""
    text = os.pread(note, length, 0).decode("utf-8", "replace")
    os.ftruncate(note, 0)
    os.lseek(note, 0, os.SEEK_SET)
    return text


def _sorted_out(said: str) -> str:
    """Keep what decoders say, and pass on the rest."""
    ours: list[str] = []
    others: list[str] = []
    for line in said.splitlines():
        (ours if _SPOKEN_BY_DECODERS.match(line) else others).append(line)
    if others:
        os.write(_ERROR_OUTPUT, ("\n".join(others) + "\n").encode())
    return "\n".join(ours)
