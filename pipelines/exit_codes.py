"""How a command ends, and what it says when that is not well."""

import sys

FAILURE_EXIT_CODE = 1
USER_ERROR_EXIT_CODE = 2
EQUIVALENT_EXIT_CODE, DIFFERENT_EXIT_CODE = 3, 4  # of `gan reproduce`
RESUMABLE_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: stopped on request, run it again to go on


def fail(message: str, code: int) -> int:
    """Write a message to standard error, each of its lines marked as an error; returns the exit code."""
    sys.stderr.write("".join(f"error: {line}\n" for line in message.splitlines()))
    return code
