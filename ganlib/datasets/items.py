"""What a source gives: parts that are read independently, of images one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    # Not otherwise: what only looks at names does so in a blink.
    import numpy as np
    from numpy.typing import NDArray

SplitName = Literal["train", "test"]
# The kind of a refusal that is no loss: a file beside the images that is none.
COMPANION = "companion"


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One image of a source, not looked at yet.

    `name` is how a person finds it: the path inside the source, or the array
    and the row. `key` orders images within a class and is the same whatever
    the kind of source: the path without split folder, class folder and suffix,
    or the row as nine digits. `label` is the class name, None when unlabelled;
    `split` the source's own, None where it has none. `content` is an encoded
    file, or pixels, uint8 [H, W] or [H, W, C] with C being 1, 3 or 4. `given` is
    the encoded file that a translator is given, where pairs lie in two folders.
    """

    name: str
    key: str
    label: str | None
    split: SplitName | None
    content: "bytes | NDArray[np.uint8]"
    given: bytes | None = None


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A file that is not used and was not decoded; `kind` is a field of `Policy`, or `COMPANION`.

    `label` is the class that it would have been in, None where nothing says so.
    """

    name: str
    kind: str
    detail: str
    label: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """A file of a folder or archive: its path inside, its bytes once unpacked as declared, and a stamp.

    The stamp (date, checksum or entity tag) changes when the content does.
    """

    name: str
    size_bytes: int
    stamp: str


class Files(Protocol):
    """The files of a folder, an archive or a URL; picklable, reopened where it is needed.

    `sequential` says that only `stream` can read them: a compressed tar.
    """

    @property
    def location(self) -> str:
        """Printable, as the user wrote it."""

    @property
    def sequential(self) -> bool:
        """Whether members can only be read one after another."""

    def entries(self) -> Iterator["FileEntry | Refusal"]:
        """All files but junk, always in the same order; unsafe ones as refusals."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading; seekable in folders and at URLs. Not for sequential ones."""

    def stream(self) -> Iterator["tuple[FileEntry, IO[bytes]] | Refusal"]:
        """All files with their content, in one pass; each is closed when the next is asked for."""


class Part(Protocol):
    """Some images of a source, read by one worker; small and picklable itself.

    `identity` names the content: a hex SHA-256 over the names, labels, sizes
    and dates (or checksums) of the members. Where it has not changed, neither
    have the images.
    """

    @property
    def identity(self) -> str:
        """Hex SHA-256."""

    def items(self) -> Iterator[Item | Refusal]:
        """Read the members, always in the same order.

        Raises:
            UserError: the source went away or cannot be read.
        """


class Source(Protocol):
    """A place with images, opened."""

    @property
    def description(self) -> str:
        """What it is, for people, such as `zip of image files`."""

    def parts(self) -> Iterator[Part]:
        """All of it, in parts of a few hundred images, found while one goes along."""


class Unreadable(Exception):
    """One file cannot be used; `kind` is a field of `Policy` and the message says why."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def printable(text: str) -> str:
    """One line that a terminal can show: whatever is not printable is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(names: Sequence[str], most: int = 10) -> str:
    """Names in one line that a terminal can show, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more
