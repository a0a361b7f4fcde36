"""What the paths of image files mean: which folders are splits, which are classes, and what a label file says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ganlib.config import DataOptions
from ganlib.datasets.files.names import stem_of
from ganlib.datasets.files.places import wrong
from ganlib.datasets.items import SplitName
from ganlib.errors import UserError

_TRAIN, _TEST = "train", "test"
_VALIDATION = ("val", "valid", "validation")
_SPLIT_FOLDERS = frozenset({_TRAIN, _TEST, *_VALIDATION})


class Meaning(NamedTuple):
    """What the path of an image says about it; see `Item`."""

    key: str
    label: str | None
    split: SplitName | None


@dataclass(frozen=True)
class Layout:
    """How the paths of a source are read.

    `splits` are the top folders that are no classes, each with the split it
    stands for; `table` has labels by path; `class_folders` says that the
    first folder (below a split's) is the class.
    """

    location: str
    splits: Mapping[str, SplitName | None]
    table: Mapping[str, str] | None
    class_folders: bool

    @property
    def labelled(self) -> bool:
        """Whether images have labels."""
        return self.class_folders or self.table is not None

    def meaning(self, name: str) -> Meaning:
        """What a path says.

        Raises:
            UserError: it was not there when the source was surveyed.
        """
        top, _, below = name.partition("/")
        split = self.splits.get(top) if below else None
        rest = below if below and top in self.splits else name
        label = None
        if self.table is not None:
            label = self.table.get(name)
            if label is None:
                raise wrong(self.location, f"changed while it was read ({name} is new); run again")
        elif self.class_folders:
            label, _, rest = rest.partition("/")
            if not rest:
                raise wrong(self.location, f"changed while it was read ({name} is new); run again")
        return Meaning(stem_of(rest), label, split)


def is_split_folder(name: str) -> bool:
    """Whether a folder of this name may stand for a split."""
    return name.lower() in _SPLIT_FOLDERS


def lay_out(
    location: str, names: Iterable[str], options: DataOptions, table: Mapping[str, str] | None, *, folders: bool
) -> Layout:
    """Look at the paths of all images.

    Args:
        location: of the source, for messages.
        names: paths of the images, in any order.
        options: `split` and `labels` count.
        table: labels by path, if a file gives them.
        folders: whether folders are classes, where there is no table.

    Raises:
        UserError: the folders contradict each other, or the table has not the images that are there.
    """
    seen = _Seen()
    listed = set(table or ())
    for name in names:
        seen.add(name)
        if table is not None:
            if name not in table:
                raise wrong(
                    location,
                    f"{_label_file(options)} has no label for {name}; add a line for it, remove the image, or set "
                    "data.labels to auto or none",
                )
            listed.discard(name)
    if listed:
        raise wrong(
            location,
            f"{_label_file(options)} lists {len(listed)} images that are not there, such as {min(listed)}; expected "
            "paths inside the source; bring them or remove their lines",
        )
    splits = _splits(location, seen, options)
    class_folders = folders and table is None and _has_class_folders(location, seen, splits)
    return Layout(location, splits, table, class_folders)


@dataclass
class _Seen:
    """An example of each kind of path: at the top, and, for each top folder, directly in it and deeper."""

    top: str | None = None
    direct: dict[str, str] = field(default_factory=dict)
    deeper: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> None:
        folder, _, below = name.partition("/")
        if not below:
            self.top = self.top or name
        else:
            (self.deeper if "/" in below else self.direct).setdefault(folder, name)

    @property
    def folders(self) -> list[str]:
        return sorted(self.direct.keys() | self.deeper.keys())


def _splits(location: str, seen: _Seen, options: DataOptions) -> dict[str, SplitName | None]:
    """The top folders that stand for splits; all of them must, as `train` may be a class, too."""
    found = {folder: folder.lower() for folder in seen.folders if is_split_folder(folder)}
    kinds = set(found.values())
    others = [folder for folder in seen.folders if folder not in found]
    if not found or (others and not (_TRAIN in kinds and len(kinds) > 1)):
        return {}
    shown = " and ".join(found)
    stray = others[0] if others else seen.top
    if stray is not None:
        raise wrong(
            location,
            f"found images in {shown} and others beside these folders (such as {stray}); expected split folders or "
            "class folders; move or rename",
        )
    if options.split == "hash" or kinds == {_TRAIN}:
        return dict.fromkeys(found)
    if _TRAIN not in kinds:
        raise _unpaired(location, shown, "expected a folder train beside it; rename one")
    if len(kinds) > 2:
        raise _unpaired(location, shown, "expected train and one other; move the images of one into another")
    return {folder: "train" if kind == _TRAIN else "test" for folder, kind in found.items()}


def _unpaired(location: str, shown: str, advice: str) -> UserError:
    return wrong(location, f"found images in {shown}; {advice}, or set data.split to hash, which merges them")


def _has_class_folders(location: str, seen: _Seen, splits: Mapping[str, SplitName | None]) -> bool:
    """Whether images lie in folders; all or none must."""
    if splits:
        flat = next(iter(seen.direct.values()), None)
        nested = next(iter(seen.deeper.values()), None)
    else:
        flat = seen.top
        nested = next(iter((seen.deeper | seen.direct).values()), None)
    if flat is not None and nested is not None:
        raise wrong(
            location,
            f"found images both at the top ({flat}) and in folders ({nested}); expected class folders only, or all at "
            "the top for unlabelled images, or data.labels to be none or a label file",
        )
    return nested is not None


def _label_file(options: DataOptions) -> str:
    return "dataset.json" if options.labels == "auto" else options.labels
