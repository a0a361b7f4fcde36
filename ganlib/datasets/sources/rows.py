"""Images that have a number instead of a file name: their keys, splits and labels, and parts that carry them."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions
from ganlib.datasets.files.names import composed
from ganlib.datasets.files.places import UNKNOWN_SIZE, trouble_told, wrong
from ganlib.datasets.files.reading import DAMAGE
from ganlib.datasets.items import FileEntry, Files, Item, Part, Refusal, SplitName, printable
from ganlib.datasets.sources.splits import Role, use_of_roles
from ganlib.errors import UserError
from ganlib.events import EventSink, ignore

# One part: so many images, and, where it carries them itself, about so many bytes.
PART_ROWS = 256
PART_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_DAMAGE = (*DAMAGE, gzip.BadGzipFile, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What consecutive images are called: their split, and the number of the first."""

    split: SplitName | None
    first: int

    def key(self, index: int) -> str:
        """The key of the image `index` after the first."""
        return f"{self.first + index:09d}"


class Numbering:
    """Numbers the images of each part from 0 on, however many files they are in.

    Where the source has no train and held-out images both, or `data.split=hash`
    ignores that, items have no split.
    """

    def __init__(
        self, location: str, roles: Iterable[Role | None], options: DataOptions, on_event: EventSink = ignore
    ) -> None:
        found = set(roles)
        if None in found and len(found) > 1:
            raise wrong(
                location,
                "found images with and without a split in the names of their files or arrays",
                "expected train and test in all names or in none",
            )
        self._location = location
        self._max_images = options.limits.max_files
        named = {role: [role] for role in found if role is not None}
        self._splits: dict[Role | None, SplitName | None] = {None: None}
        for role, split in use_of_roles(location, named, options, on_event).items():
            self._splits[role] = split
        self._counts: Counter[Role | None] = Counter()

    def uses(self, role: Role | None) -> bool:
        """Whether the images of a part are read."""
        return role in self._splits

    def take(self, role: Role | None, count: int) -> Numbers:
        """Numbers for the next `count` images of a part that is used."""
        numbers = Numbers(self._splits[role], self._counts[role])
        self._counts[role] += count
        if self._counts.total() > self._max_images:
            raise wrong(
                self._location,
                f"found {self._counts.total()} images",
                f"expected at most data.limits.max_files={self._max_images}, raise it",
            )
        return numbers


@dataclass(frozen=True, slots=True, eq=False)
class InlinePart:
    """Images that were read on the way, as their file can only be read from its beginning."""

    identity: str
    content: tuple[Item | Refusal, ...]

    def items(self) -> Iterator[Item | Refusal]:
        """See `Part`."""
        return iter(self.content)


def inline_parts(items: Iterable[Item | Refusal], evidence: Sequence[FileEntry]) -> Iterator[Part]:
    """Carry images in parts of bounded size.

    Args:
        items: read as they are needed.
        evidence: the files they are from, whose sizes and stamps tell when their content changed.
    """
    batch: list[Item | Refusal] = []
    size_bytes = 0
    for item in items:
        batch.append(item)
        size_bytes += content_bytes(item)
        if len(batch) == PART_ROWS or size_bytes >= PART_BYTES:
            yield _inline_part(batch, evidence)
            batch, size_bytes = [], 0
    if batch:
        yield _inline_part(batch, evidence)


def content_bytes(item: Item | Refusal) -> int:
    """What an item's content takes."""
    if isinstance(item, Refusal):
        return 0
    return item.content.nbytes if isinstance(item.content, np.ndarray) else len(item.content)


def _inline_part(items: Sequence[Item | Refusal], evidence: Sequence[FileEntry]) -> InlinePart:
    described = [
        (item.name, item.kind, item.detail, item.label)
        if isinstance(item, Refusal)
        else (item.name, item.key, item.label, item.split)
        for item in items
    ]
    return InlinePart(digest("inline", described, facts(evidence)), tuple(items))


def facts(entries: Iterable[FileEntry]) -> list[tuple[str, int, str]]:
    """What tells whether files have changed."""
    return [(entry.name, entry.size_bytes, entry.stamp) for entry in entries]


def digest(*content: object) -> str:
    """Hex SHA-256 of what JSON can write."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def pixel_items(
    pixels: NDArray[np.uint8], name: str, first_row: int, numbers: Numbers, labels: Sequence[str] | None
) -> Iterator[Item]:
    """Consecutive rows of an array, uint8 [N, H, W] or [N, H, W, C], as items."""
    for index, image in enumerate(pixels):
        label = None if labels is None else labels[index]
        yield Item(f"{name}[{first_row + index}]", numbers.key(index), label, numbers.split, image.copy())


def part_rows(row_bytes: int) -> int:
    """How many images of a size make a part."""
    return max(1, min(PART_ROWS, PART_BYTES // row_bytes))


def class_name(location: str, where: str, label: object) -> str:
    """A label as a class name, composed; 3.0, as tables with gaps have it, is the number 3.

    Raises:
        UserError: it is missing (None, negative, or an empty text) or neither a whole number nor a text.
    """
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and not isinstance(label, bool) and label >= 0:
        return str(label)
    if isinstance(label, str) and label and label.isprintable():
        return composed(label)
    # Only of what is small: nested lists of a hostile file could be printed for ever.
    shown = f"{label!r:.60}" if isinstance(label, int | float | str | bytes | None) else f"a {type(label).__name__}"
    raise wrong(
        location,
        f"found {shown} as the label of {where}",
        "expected a number from 0 on or a name for every image, or set data.labels=none",
    )


def class_names(location: str, where: str, names: object) -> tuple[str, ...]:
    """A list of class names, one for each number.

    Raises:
        UserError: it is no list of texts, or two classes have one name.
    """
    listed = names if isinstance(names, list) else []
    good = tuple(composed(name) for name in listed if isinstance(name, str) and name and name.isprintable())
    if not listed or len(set(good)) != len(listed):
        raise wrong(
            location, f"the class names in {where} are empty, doubled or no texts", "expected one for each class"
        )
    return good


def named(location: str, where: str, label: object, names: Sequence[str] | None) -> str:
    """The class name of a label, which is a number where there are `names`."""
    text = class_name(location, where, label)
    if names is None or isinstance(label, str):
        return text
    if int(text) >= len(names):
        raise wrong(
            location, f"found the label {text} of {where} but {len(names)} class names", "expected a name for it"
        )
    return names[int(text)]


def refuse_label_file(files: Files, options: DataOptions, description: str) -> None:
    """Only image files are labelled by a table beside them."""
    if options.labels not in ("auto", "none"):
        raise UserError(
            f"data.labels={printable(options.labels)}: found {description} at data.source={files.location}, which "
            "have no file names to list; expected auto (their own labels) or none"
        )


def refuse_sequential(files: Files, description: str) -> None:
    """These formats are read from more than one place."""
    if files.sequential:
        raise wrong(files.location, f"found {description} in a compressed tar", "expected them unpacked, or in a zip")


def listed(files: Files, wanted: Callable[[str], bool]) -> list[FileEntry]:
    """The files whose names are wanted, by name."""
    return sorted(
        entry for entry in files.entries() if isinstance(entry, FileEntry) and wanted(entry.name.rpartition("/")[2])
    )


@contextmanager
def damage_told(location: str, name: str) -> Iterator[None]:
    """Whatever goes wrong when a file is read, the disk's trouble and the file's, as one line."""
    with trouble_told(location, name):
        try:
            yield
        except _DAMAGE as error:
            # Some quote all that was read.
            detail = f"{str(error) or type(error).__name__:.160}"
            raise wrong(location, f"{name} is damaged ({detail})", "fetch or make it again") from None


def read_whole(entry: FileEntry, stream: IO[bytes], limit_bytes: int) -> bytes:
    """Read a file of at most so many bytes.

    Raises:
        EOFError: there are fewer bytes than it declares.
        ValueError: there are more bytes than it declares, or than the limit.
    """
    content = bytearray()
    if entry.size_bytes <= limit_bytes:
        while len(content) <= limit_bytes and (piece := stream.read(_PIECE_BYTES)):
            content += piece
    if max(entry.size_bytes, len(content)) > limit_bytes:
        raise ValueError(f"it has more than {limit_bytes} bytes")
    if entry.size_bytes not in (UNKNOWN_SIZE, len(content)):
        raise EOFError(f"it has {len(content)} bytes instead of {entry.size_bytes}")
    return bytes(content)


def read_exactly(stream: IO[bytes], count: int) -> bytes:
    """Read so many bytes, in pieces, so that a lying header allocates nothing.

    Raises:
        EOFError: there are fewer.
    """
    content = bytearray()
    while len(content) < count:
        piece = stream.read(min(_PIECE_BYTES, count - len(content)))
        if not piece:
            raise EOFError(f"it ends {count - len(content)} bytes early")
        content += piece
    return bytes(content)
