"""Pairs of image files: the same name in two folders."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ganlib.config import DataOptions, FoldersOptions
from ganlib.datasets.files import CompressedTar, Folder, RemoteFolder, Tar, Zip
from ganlib.datasets.files.formats import HEAD_BYTES, companion_detail, is_image_head, sort_by_name
from ganlib.datasets.files.names import composed, stem_of
from ganlib.datasets.files.places import wrong
from ganlib.datasets.files.reading import RandomAccess
from ganlib.datasets.items import COMPANION, FileEntry, Item, Part, Refusal, SplitName, printable, shortened
from ganlib.datasets.sources.grouping import grouped
from ganlib.datasets.sources.rows import digest, facts
from ganlib.datasets.sources.splits import Role, role_and_side, role_of_folder, use_of_roles
from ganlib.events import EventSink, ignore

_MOST_PAIRS = 256
_SHOWN = 5


class Pair(NamedTuple):
    """Two files of one name, and what their paths say."""

    wanted: FileEntry
    given: FileEntry
    key: str
    split: SplitName | None


@dataclass(frozen=True)
class PairPart:
    """Some pairs, and files that are none."""

    files: RandomAccess
    members: tuple[Pair | Refusal, ...]
    max_file_bytes: int

    @property
    def identity(self) -> str:
        """Hex SHA-256 of names, splits, sizes and stamps."""
        return digest("pairs", [_fields(member) for member in self.members])

    def items(self) -> Iterator[Item | Refusal]:
        """Read them, in order."""
        pairs = [member for member in self.members if isinstance(member, Pair)]
        entries = [entry for pair in pairs for entry in (pair.wanted, pair.given)]
        contents = self.files.contents(entries, self.max_file_bytes)
        for member in self.members:
            if isinstance(member, Refusal):
                yield member
                continue
            wanted, given = next(contents), next(contents)
            refused = next((each for each in (wanted, given) if isinstance(each, Refusal)), None)
            if refused is not None:
                yield replace(refused, label=None)
            else:
                assert isinstance(wanted, bytes)
                assert isinstance(given, bytes)
                yield Item(member.wanted.name, member.key, None, member.split, wanted, given)


@dataclass(frozen=True)
class FolderPairs:
    """Image files in two folders that are called as `data.inputs` says, in folders for splits or not; no labels."""

    files: Folder | RemoteFolder | Zip | Tar
    options: DataOptions
    on_event: EventSink = ignore

    @property
    def description(self) -> str:
        """What it is, for people."""
        return f"{self.files.description} of pairs of image files"

    def parts(self) -> Iterator[Part]:
        """All pairs, a few hundred at a time.

        Raises:
            UserError: a file has no partner, or several.
        """
        for members in grouped(self._members(), _spread, _MOST_PAIRS):
            yield PairPart(self.files, tuple(members), self.options.limits.max_file_bytes)

    def _members(self) -> Iterator[Pair | Refusal]:
        options = self.options.inputs
        assert isinstance(options, FoldersOptions)
        sides: dict[str, dict[tuple[Role | None, str], FileEntry]] = {options.output: {}, options.input: {}}
        refusals: list[Refusal] = []
        for found in self.files.entries():
            place = None if isinstance(found, Refusal) else _place(found.name, tuple(sides))
            if isinstance(found, Refusal):
                refusals.append(found)
            elif place is not None and self._is_image(found):
                side, role, key = place
                if other := sides[side].get((role, key)):
                    raise wrong(
                        self.files.location,
                        f"{printable(other.name)} and {printable(found.name)} have one name",
                        f"expected one file of each name in {side}",
                    )
                sides[side][role, key] = found
            else:
                refusals.append(Refusal(printable(found.name), COMPANION, companion_detail(found.name)))
        self._check_matching(sides)
        wanted, given = sides[options.output], sides[options.input]
        roles = {role: [role] for role, _ in wanted if role is not None}
        splits = use_of_roles(self.files.location, roles, self.options, self.on_event)
        yield from refusals
        for role, key in sorted(wanted, key=lambda each: (each[0] or "", each[1])):
            if role is None or role in splits:
                split = None if role is None else splits[role]
                yield Pair(wanted[role, key], given[role, key], key, split)

    def _is_image(self, entry: FileEntry) -> bool:
        sort = sort_by_name(entry.name)
        if sort is not None:
            return sort == "image"
        with self.files.open(entry.name) as file:
            return is_image_head(file.read(HEAD_BYTES))

    def _check_matching(self, sides: dict[str, dict[tuple[Role | None, str], FileEntry]]) -> None:
        """Every file has its partner, and either all lie in folders for splits or none."""
        for side, files in sides.items():
            if not files:
                raise wrong(
                    self.files.location, f"found no image in a folder {side}", f"expected {' and '.join(sides)} in it"
                )
        alone = []
        for (side, files), other in zip(sides.items(), reversed(sides.values()), strict=True):
            missing = sorted(printable(files[place].name) for place in files.keys() - other.keys())
            if missing:
                alone.append(f"{len(missing)} of {len(files)} files in {side} ({shortened(missing, _SHOWN)})")
        if alone:
            raise wrong(
                self.files.location,
                f"no partner of the same name for {' and '.join(alone)}",
                f"expected each in {' and in '.join(sides)}; add or remove them",
            )
        roles = {role for role, _ in next(iter(sides.values()))}
        if None in roles and len(roles) > 1:
            raise wrong(
                self.files.location,
                "found pairs inside and outside of folders for splits",
                "expected all in such folders or none",
            )


def pairs_of(
    files: Folder | RemoteFolder | Zip | Tar | CompressedTar, options: DataOptions, on_event: EventSink
) -> FolderPairs:
    """Pairs in two folders.

    Raises:
        UserError: the files can only be read one after another.
    """
    if isinstance(files, CompressedTar):
        raise wrong(files.location, "found a compressed tar", "expected pairs in a folder, a zip or a plain tar")
    return FolderPairs(files, options, on_event)


def _place(name: str, sides: tuple[str, ...]) -> tuple[str, Role | None, str] | None:
    """Which side a file is on, its split folder's role, and its path without both and without suffix; None: neither."""
    *named, stem = stem_of(composed(name)).split("/")
    folders = [part for folder in named for part in role_and_side(folder) or (folder,)]
    found = [folder for folder in folders if folder in sides]
    if len(found) != 1:
        return None
    folders.remove(found[0])
    role = next((role for role in map(role_of_folder, folders) if role is not None), None)
    kept = [folder for folder in folders if role_of_folder(folder) is None]
    return found[0], role, "/".join([*kept, stem])


def _fields(member: Pair | Refusal) -> list[object]:
    if isinstance(member, Refusal):
        return [member.name, member.kind, member.detail]
    return [member.key, member.split, *facts([member.wanted, member.given])]


def _spread(member: Pair | Refusal) -> int:
    name = member.wanted.name if isinstance(member, Pair) else member.name
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")
