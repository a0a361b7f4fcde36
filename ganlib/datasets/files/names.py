"""What a path inside a folder or archive says about a file, whoever it comes from."""

import re
import unicodedata
from pathlib import PurePosixPath

from ganlib.datasets.items import Refusal, printable

# Of file systems, network disks, backups and viewers of pictures, in lower case.
_JUNK = frozenset(
    {
        *("__macosx", "icon\r", "network trash folder", "temporary items"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "lost+found", "__pycache__"),
        *("picasa.ini", "zbthumbnail.info"),
    }
)
_JUNK_ENDS = (
    *("~", ".part", ".partial", ".filepart", ".crdownload", ".download", ".opdownload", ".aria2", ".tmp", ".temp"),
    *(".swp", ".lrdata", ".lrcat"),
)
# As operating systems have it; headers of archives can hold a million.
_MOST_CHARACTERS = 4096
_SHOWN_CHARACTERS = 200
# Nothing is wrong with most names; this tells quickly.
_PLAIN = re.compile(r"[\w-][\w./ -]*", re.ASCII)
_UNPRINTABLE = frozenset({"Cc", "Cs"})


def suffix_of(name: str) -> str:
    """The last suffix of a path, in lower case."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def stem_of(name: str) -> str:
    """A path without the last suffix of its file."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix else name


def is_junk(name: str) -> bool:
    """Whether a file, or a folder it lies in, is hidden, unfinished, or left behind by what stores or shows files."""
    return any(part.startswith(".") or part in _JUNK or part.endswith(_JUNK_ENDS) for part in name.lower().split("/"))


def unsafe(name: str) -> str | None:
    """Why this path is refused; None if it is not."""
    if _PLAIN.fullmatch(name) and ".." not in name and len(name) <= _MOST_CHARACTERS:
        return None
    if name.startswith("/") or re.match(r"[A-Za-z]:/", name):
        return "an absolute path"
    if ".." in name.split("/"):
        return "a path that leads outside"
    if "\\" in name:
        return "a backslash in its path; expected /"
    if len(name) > _MOST_CHARACTERS:
        return f"a path of {len(name)} characters; expected at most {_MOST_CHARACTERS}"
    if has_control(name):
        return "a control character or invalid UTF-8 in its name"
    return None


def has_control(text: str) -> bool:
    """Whether there are control characters or, written as surrogates, bytes that are not UTF-8."""
    return not text.isprintable() and any(unicodedata.category(c) in _UNPRINTABLE for c in text)


def refuse_unsafe(name: str) -> Refusal | None:
    """The row for a path that is refused; None if it is not."""
    reason = unsafe(name)
    if reason is None:
        return None
    shown = name if len(name) <= _MOST_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"
    return Refusal(printable(shown), "unsafe_name", reason)


def tidy(name: str) -> str:
    """A path without `./` and doubled slashes."""
    return PurePosixPath(name).as_posix() if "./" in name or "//" in name else name


def composed(text: str) -> str:
    """A path or class name in Unicode's composed form (NFC): macOS and others write `é` as two characters."""
    return unicodedata.normalize("NFC", text)
