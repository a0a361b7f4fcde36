"""What git says of a project."""

import os
import subprocess
from collections.abc import Mapping
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
    done = _run(arguments, project, {})
    if done is None:
        return None
    if done.returncode == 0:
        return done.stdout.strip()
    remedy = next((line.strip() for line in done.stderr.splitlines() if _REMEDY in line), None)
    if remedy is not None:
        raise DubiousOwnership(
            f"{project.resolve()}: belongs to another user, so git says nothing of it; if you trust it, run `{remedy}`"
        )
    return None


def act(*arguments: str, project: Path, doing: str, env: Mapping[str, str] | None = None) -> str:
    """Let git do something; what it prints.

    Args:
        arguments: of git.
        project: where it works.
        doing: what this is for, to begin an error with.
        env: added to git's environment.

    Raises:
        UserError: it cannot, in git's words.
    """
    done = _run(arguments, project, env or {})
    if done is None:
        raise UserError(f"{doing}: git is not installed")
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith(("fatal: ", "error: "))]
        # The cause comes first; what git could not do because of it comes last.
        why = "".join(said[:1]).partition(": ")[2] or done.stderr.strip() or f"exit code {done.returncode}"
        command = next(each for each in arguments if not each.startswith("-") and "=" not in each)
        raise UserError(f"{doing}: git {command} failed ({why})")
    return done.stdout.strip()


def _run(arguments: tuple[str, ...], project: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=project,
            env=os.environ | {"LC_ALL": "C"} | dict(env),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return None
