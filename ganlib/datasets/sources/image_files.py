"""Image files in a folder or archive."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from ganlib.config import DataOptions
from ganlib.datasets.files import CompressedTar, Folder, RemoteFolder, Tar, Zip
from ganlib.datasets.files.formats import (
    HEAD_BYTES,
    companion_detail,
    format_of,
    is_image_head,
    sort_by_name,
)
from ganlib.datasets.files.names import composed, suffix_of, unsafe
from ganlib.datasets.files.places import UNKNOWN_SIZE, trouble_told, wrong
from ganlib.datasets.files.reading import DAMAGE, RandomAccess, read_limited, too_large
from ganlib.datasets.items import COMPANION, FileEntry, Item, Part, Refusal, Unreadable, printable, shortened
from ganlib.datasets.sources.grouping import grouped
from ganlib.datasets.sources.labels import DATASET_JSON, MOST_BYTES, LabelFile, check_label_file, read_label_file
from ganlib.datasets.sources.layout import Folders, Layout, Meaning, lay_out
from ganlib.datasets.sources.splits import role_of_folder
from ganlib.events import EventSink, Notice, ignore

_MOST_FILES = 512
# Of content that travels inside a part, as a compressed tar cannot be read again from the middle.
_MOST_BYTES = 64 << 20
# Files whose first bytes are asked for at once where names say nothing.
_LOOKED_AT_ONCE = 256
_SHOWN = 3


class Member(NamedTuple):
    """An image file and what its path says."""

    entry: FileEntry
    meaning: Meaning


@dataclass(frozen=True)
class FilePart:
    """Some image files, by name."""

    files: RandomAccess
    members: tuple[Member | Refusal, ...]
    max_file_bytes: int

    @property
    def identity(self) -> str:
        """Hex SHA-256 of names, labels, splits, sizes and stamps."""
        return _digest(self.members)

    def items(self) -> Iterator[Item | Refusal]:
        """Read them, in order."""
        entries = [member.entry for member in self.members if isinstance(member, Member)]
        contents = self.files.contents(entries, self.max_file_bytes)
        for member in self.members:
            if isinstance(member, Refusal):
                yield member
                continue
            yield _item(member.entry, member.meaning, next(contents))


@dataclass(frozen=True)
class ReadPart:
    """Some image files with their content."""

    members: tuple[Item | Refusal, ...]

    @property
    def identity(self) -> str:
        """Hex SHA-256 of names, labels, splits and contents."""
        return _digest(self.members)

    def items(self) -> Iterator[Item | Refusal]:
        """Give them, in order."""
        return iter(self.members)


@dataclass(frozen=True)
class ImageFiles:
    """Image files in class folders or flat, in folders for splits or not, with a label file or without."""

    files: Folder | RemoteFolder | Zip | Tar | CompressedTar
    options: DataOptions
    on_event: EventSink = ignore

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"{self.files.description} of image files"

    def parts(self) -> Iterator[Part]:
        """All files, a few hundred at a time."""
        layout = self.survey()
        if isinstance(self.files, CompressedTar):
            read = self._read(self.files, layout)
            for items in grouped(read, _spread, _MOST_FILES, weight=_weight, heaviest=_MOST_BYTES):
                yield ReadPart(tuple(items))
        else:
            for members in grouped(self._members(self.files, layout), _spread, _MOST_FILES):
                yield FilePart(self.files, tuple(members), self.options.limits.max_file_bytes)

    def is_labelled(self) -> bool:
        """Whether the images have labels; where the first are in two class folders, this is known at once.

        Raises:
            UserError: there is no image, or what `parts` raises.
        """
        options = self.options
        if options.labels != "auto":
            return options.labels != "none"
        folders: set[str] = set()
        for name in self._all_names():
            folder, _, below = name.partition("/")
            if not below or role_of_folder(folder) is not None:
                break
            folders.add(folder)
            if len(folders) > 1:
                return True
        else:
            if not folders:
                raise wrong(options.source, "found no usable image; expected image files such as .png or .jpg")
        return self.survey().labelled

    def survey(self) -> Layout:
        """Look at all names.

        Raises:
            UserError: the label file is missing or wrong, or the folders contradict each other.
        """
        options, location = self.options, self.files.location
        names: Iterable[str]
        held: Mapping[str, bytes] = {}
        if isinstance(self.files, CompressedTar):
            names, held = self._streamed(self.files)
            folders = Folders(names)
        else:
            folders, names = Folders(self._names(self.files)), self._names(self.files)
        found = self._labels(folders, held)
        if options.labels not in ("auto", "none"):
            if found is None:
                raise wrong(location, f"data.labels={options.labels}: not found; expected a path inside the source")
            if found.table is None:
                raise wrong(location, f"{options.labels}: its labels are null; set data.labels to none")
        if found is not None:
            check_label_file(location, names, found)
        return lay_out(location, folders, options, found, self.on_event)

    @property
    def _label_file(self) -> str | None:
        return {"auto": DATASET_JSON, "none": None}.get(self.options.labels, self.options.labels)

    def _labels(self, folders: Folders, held: Mapping[str, bytes]) -> LabelFile | None:
        """What the label file says, at the top or in a folder around all images; None where there is none."""
        if self._label_file is None:
            return None
        if unsafe(self._label_file) is not None:
            reason = unsafe(self._label_file)
            raise wrong(
                self.files.location, f"data.labels={self._label_file}: {reason}; expected a path inside the source"
            )
        for folder in folders.around:
            name = f"{folder}{self._label_file}"
            try:
                file = io.BytesIO(held[name]) if isinstance(self.files, CompressedTar) else self.files.open(name)
            except (FileNotFoundError, KeyError):
                continue
            except DAMAGE as error:
                raise wrong(self.files.location, f"{name}: damaged in the archive ({error}); pack it again") from None
            with trouble_told(self.files.location, name), file:
                table = read_label_file(self.files.location, name, file)
            return LabelFile(name, table and {f"{composed(folder)}{path}": label for path, label in table.items()})
        return None

    def check_readable(self) -> None:
        """See, at the first of them, that there is an image of a format that is read.

        Raises:
            UserError: there is none; the message says what there is instead.
        """
        met: Counter[str] = Counter()
        for found, head in self._first_bytes():
            if isinstance(found, Refusal):
                met[found.detail] += 1
                continue
            try:
                format_of(found.name, head)
            except Unreadable as error:
                met["an empty file" if not head else str(error)] += 1
            else:
                return
        shown = "; ".join(f"{count} x {detail}" for detail, count in met.most_common(_SHOWN))
        raise wrong(
            self.files.location,
            f"found no usable image among {met.total()} files{shown and ': '}{shown}",
            "expected image files such as .png or .jpg",
        )

    def _first_bytes(self) -> Iterator[tuple[FileEntry | Refusal, bytes]]:
        """All files, and the first bytes of those that may be images."""
        if isinstance(self.files, CompressedTar):
            for found in self.files.stream():
                if isinstance(found, Refusal):
                    yield found, b""
                else:
                    entry, file = found
                    head = file.read(HEAD_BYTES)
                    yield self._refused(entry.name, head) or entry, head
            return
        images = self._images(self.files, self.files.entries())
        while batch := list(islice(images, _LOOKED_AT_ONCE)):
            entries = [found for found in batch if isinstance(found, FileEntry)]
            heads = self.files.heads(entries)
            yield from ((found, next(heads) if isinstance(found, FileEntry) else b"") for found in batch)

    def _all_names(self) -> Iterator[str]:
        if isinstance(self.files, CompressedTar):
            return (found.name for found, _ in self._first_bytes() if isinstance(found, FileEntry))
        return self._names(self.files)

    def _names(self, files: RandomAccess) -> Iterator[str]:
        entries: Iterable[FileEntry | Refusal] = files.entries()
        if isinstance(files, Folder):
            entries = (FileEntry(name, UNKNOWN_SIZE, "") for name in files.names())
        return (found.name for found in self._images(files, entries) if isinstance(found, FileEntry))

    def _images(self, files: RandomAccess, entries: Iterable[FileEntry | Refusal]) -> Iterator[FileEntry | Refusal]:
        """Those that are images by their names or else by their first bytes; all others as refusals."""
        entries = iter(entries)
        while batch := list(islice(entries, _LOOKED_AT_ONCE)):
            unknown = [found for found in batch if isinstance(found, FileEntry) and sort_by_name(found.name) is None]
            heads = dict(zip(unknown, files.heads(unknown), strict=True)) if unknown else {}
            for found in batch:
                yield found if isinstance(found, Refusal) else self._refused(found.name, heads.get(found, b"")) or found

    def _streamed(self, files: CompressedTar) -> tuple[list[str], dict[str, bytes]]:
        """The names of all images and, as it cannot be opened afterwards, what may be the label file."""
        names: list[str] = []
        held: dict[str, bytes] = {}
        for found in files.stream():
            if isinstance(found, Refusal):
                continue
            entry, file = found
            if self._label_file is not None and f"/{entry.name}".endswith(f"/{self._label_file}"):
                held[entry.name] = file.read(MOST_BYTES + 1)
            elif self._refused(entry.name, file.read(HEAD_BYTES)) is None:
                names.append(entry.name)
        return names, held

    def _refused(self, name: str, head: bytes) -> Refusal | None:
        """Why a file is not read: it is none of the images, by its name or else by its first bytes."""
        sort = sort_by_name(name)
        if sort == "image" or (sort is None and is_image_head(head)):
            return None
        if sort == "archive":
            where = "beside images" if isinstance(self.files, Folder | RemoteFolder) else "inside an archive"
            return Refusal(printable(name), "not_an_image", f"an archive {where}, which is not opened")
        return Refusal(printable(name), COMPANION, companion_detail(name))

    def _is_looked_at(self, name: str, layout: Layout) -> bool:
        """Whether a file is in a part that is used, and not read otherwise."""
        return layout.uses(name) and name not in (DATASET_JSON, self._label_file, layout.labels and layout.labels.name)

    def _tell_imageless(self, layout: Layout, imageless: Counter[str]) -> None:
        """Name the folders beside class folders that hold no image, so that no class is missed without a word."""
        if layout.classes and isinstance(self.files, Folder):
            for root in layout.roots:
                for label in self.files.folders(root):
                    if composed(label) not in layout.classes:
                        imageless[composed(label)] += 0
        if imageless:
            shown = shortened([f"{label} ({count} files)" for label, count in sorted(imageless.items())])
            self.on_event(
                Notice(f"{self.files.location}: holds no image in {shown}; a folder without images is no class")
            )

    def _members(self, files: RandomAccess, layout: Layout) -> Iterator[Member | Refusal]:
        imageless: Counter[str] = Counter()
        entries = (entry for entry in files.entries() if self._is_looked_at(entry.name, layout))
        for found in self._images(files, entries):
            if isinstance(found, Refusal):
                yield _with_label(found, layout, imageless)
            else:
                yield Member(found, layout.meaning(found.name))
        self._tell_imageless(layout, imageless)

    def _read(self, files: CompressedTar, layout: Layout) -> Iterator[Item | Refusal]:
        limit_bytes = self.options.limits.max_file_bytes
        imageless: Counter[str] = Counter()
        for found in files.stream():
            entry, file = (found, None) if isinstance(found, Refusal) else found
            if not self._is_looked_at(entry.name, layout):
                continue
            head = b"" if file is None else file.read(HEAD_BYTES)
            refusal = entry if isinstance(entry, Refusal) else self._refused(entry.name, head)
            if refusal is not None:
                yield _with_label(refusal, layout, imageless)
            elif file is not None and isinstance(entry, FileEntry):
                too_long = entry.size_bytes > limit_bytes
                rest = too_large(entry, limit_bytes) if too_long else read_limited(file, entry, limit_bytes)
                yield _item(entry, layout.meaning(entry.name), rest if isinstance(rest, Refusal) else head + rest)
        self._tell_imageless(layout, imageless)


def _item(entry: FileEntry, meaning: Meaning, content: bytes | Refusal) -> Item | Refusal:
    if isinstance(content, Refusal):
        return replace(content, label=meaning.label)
    return Item(entry.name, *meaning, content)


def _with_label(refusal: Refusal, layout: Layout, imageless: Counter[str]) -> Refusal:
    """The same with its class, where it is an image or may stand for a class folder; others are counted by folder."""
    name = refusal.name
    if refusal.kind == "unsafe_name" and not suffix_of(name):
        # Most likely a link to a class folder.
        return replace(refusal, label=layout.folder_label(f"{name}/"))
    label = layout.folder_label(name)
    if sort_by_name(name) == "image" and refusal.kind != COMPANION:
        return replace(refusal, label=label)
    if label is not None and label not in layout.classes:
        imageless[label] += 1
    return refusal


def _digest(members: Iterable[Member | Item | Refusal]) -> str:
    fields = json.dumps([_fields(member) for member in members])
    return hashlib.sha256(fields.encode()).hexdigest()


def _fields(member: Member | Item | Refusal) -> list[object]:
    match member:
        case Member(entry, meaning):
            return [entry.name, *meaning, entry.size_bytes, entry.stamp]
        case Item(content=bytes(content)):
            return [member.name, member.key, member.label, member.split, hashlib.sha256(content).hexdigest()]
        case Refusal():
            return [member.name, member.kind, member.detail, member.label]
    raise AssertionError(member)


def _spread(member: Member | Item | Refusal) -> int:
    name = member.entry.name if isinstance(member, Member) else member.name
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def _weight(member: Item | Refusal) -> int:
    return len(member.content) if isinstance(member, Item) else 0
