"""Descriptions of ours in MLflow, which never take the place of a person's words."""

import hashlib

# A link's definition, which no page shows: the digest of the text before it, as we wrote it.
_SEAL = "[//]: # (ganlib {})"
_DIGITS = 16


def sealed(text: str) -> str:
    """The text with a last line that tells later whether a person has changed it."""
    text = text.strip()
    return f"{text}\n\n{_SEAL.format(_digest(text))}\n"


def is_ours(found: str | None) -> bool:
    """Whether a description is empty, or still as `sealed` gave it, and so may be replaced."""
    text, _, seal = (found or "").strip().rpartition("\n")
    return not seal or seal == _SEAL.format(_digest(text))


def _digest(text: str) -> str:
    """Of the words; a page may write the ends of lines in its own way."""
    lines = (line.rstrip() for line in text.strip().splitlines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]


def reproduction(commit: str | None) -> list[tuple[str, str]]:
    """(what it does, command) to make a generator again."""
    code = [] if commit is None else [("the code and parameters", f"git checkout {commit}")]
    return [*code, ("everything again, from the data to this page", "dvc repro")]
