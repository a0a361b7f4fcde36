"""What git says of a project."""

import os
import subprocess
from pathlib import Path

from ganlib.errors import UserError

_REMEDY = "safe.directory"  # in the command that git itself proposes


class DubiousOwnership(UserError):
    """Git tells nothing of a folder that belongs to another user; the message holds git's remedy."""


def git(*arguments: str, project: Path = Path()) -> str | None:
    """What a git command prints in a project's folder; None where git, a repository or an answer is missing.

    Raises:
        DubiousOwnership: git refuses the folder.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=project,
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return None
    if done.returncode == 0:
        return done.stdout.strip()
    remedy = next((line.strip() for line in done.stderr.splitlines() if _REMEDY in line), None)
    if remedy is not None:
        raise DubiousOwnership(
            f"{project.resolve()}: belongs to another user, so git says nothing of it; if you trust it, run `{remedy}`"
        )
    return None
