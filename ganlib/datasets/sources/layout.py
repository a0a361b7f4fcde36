"""What the paths of image files mean: which folders are splits, which are classes, and what a label file says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ganlib.config import DataOptions
from ganlib.datasets.files.names import composed, stem_of
from ganlib.datasets.files.places import wrong
from ganlib.datasets.items import SplitName, shortened
from ganlib.datasets.sources.labels import LabelFile
from ganlib.datasets.sources.splits import Role, role_and_side, role_of_folder, use_of_roles
from ganlib.events import EventSink, Notice


class Meaning(NamedTuple):
    """What the path of an image says about it; see `Item`."""

    key: str
    label: str | None
    split: SplitName | None


@dataclass(frozen=True)
class Layout:
    """How the paths of a source are read.

    `roots` are the folders whose images are used, each with the split they
    are in: '' or `photos/`, or one a split, such as `photos/train/`; `unused`
    are those that are not. Where no file gives `labels`, `classes` are the
    folders below the roots that are classes, or the `sides` of the roots, such
    as A of `trainA/`; none where images are unlabelled.
    """

    location: str
    roots: Mapping[str, SplitName | None]
    unused: tuple[str, ...]
    labels: LabelFile | None
    classes: frozenset[str]
    sides: Mapping[str, str] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether images have labels."""
        return bool(self.classes) or self._table is not None

    def uses(self, name: str) -> bool:
        """Whether a file is read; those of a split that is not used are not."""
        return not name.startswith(self.unused)

    def folder_label(self, name: str) -> str | None:
        """The class of a file by its folder, whether it is an image or not; None if it has none."""
        root = self._root(name)
        if root is not None and root in self.sides:
            return self.sides[root]
        label, slash, _ = name[len(root or "") :].partition("/")
        return composed(label) if slash and root is not None and self.classes else None

    def meaning(self, name: str) -> Meaning:
        """What the path of an image says.

        Raises:
            UserError: it was not there when the source was surveyed.
        """
        root = self._root(name)
        label, rest = None, "" if root is None else name[len(root) :]
        if self._table is not None:
            label = self._table.get(composed(name))
        elif root is not None and root in self.sides:
            label = self.sides[root]
        elif self.classes:
            label, _, rest = composed(rest).partition("/")
        if root is None or not rest or (self.labelled and label is None):
            raise wrong(self.location, f"changed while it was read ({name} is new); run again")
        return Meaning(stem_of(composed(rest)), label, self.roots[root])

    @property
    def _table(self) -> Mapping[str, str] | None:
        return None if self.labels is None else self.labels.table

    def _root(self, name: str) -> str | None:
        return next((root for root in self.roots if name.startswith(root)), None)


class Folders:
    """The folders that hold images, each with one of its images; '' is the top."""

    def __init__(self, images: Iterable[str]) -> None:
        self.examples: dict[str, str] = {}
        for image in images:
            folder = image[: image.rfind("/") + 1]
            if folder not in self.examples:
                self.examples[folder] = image

    @property
    def around(self) -> list[str]:
        """The folders that all images are in, from the top on."""
        common = self._common("")
        return [common[:at] for at in range(len(common) + 1) if at == 0 or common[at - 1] == "/"]

    def wrapper(self, root: str = "") -> str:
        """The folder around all images below a root, which is no class, such as `photos/` or `photos/2024/`.

        A lone folder that holds images itself is a class, unless its name is a split's.
        """
        common = self._common(root)
        if common in self.examples and common != root and role_of_folder(_last(common)) is None:
            return common[: common.rfind("/", 0, -1) + 1]
        return common

    def _common(self, root: str) -> str:
        below = [folder for folder in self.examples if folder.startswith(root)]
        first, last = min(below, default=root), max(below, default=root)
        common = root
        while (at := first.find("/", len(common)) + 1) and last.startswith(first[:at]):
            common = first[:at]
        return common

    def children(self, root: str) -> dict[str, str]:
        """The names of the folders straight below a root that hold images, themselves or deeper, with one of these."""
        found: dict[str, str] = {}
        for folder, example in self.examples.items():
            if folder.startswith(root) and folder != root:
                found.setdefault(folder[len(root) :].partition("/")[0], example)
        return found


def lay_out(
    location: str, folders: Folders, options: DataOptions, labels: LabelFile | None, on_event: EventSink
) -> Layout:
    """Look at the folders of all images.

    Args:
        location: of the source, for messages.
        folders: where the images are.
        options: `split` and `labels` count.
        labels: what a label file says; where there is none and `options.labels` is `auto`, folders are classes.
        on_event: hears what is made of folders that could mean something else.

    Raises:
        UserError: the folders contradict each other.
    """
    if not folders.examples:
        return Layout(location, {"": None}, (), labels, frozenset())
    wrapper = folders.wrapper()
    by_folder = options.labels == "auto" and labels is None
    sides = _sides(folders.children(wrapper)) if by_folder else {}
    if sides:
        return _in_sides(location, wrapper, sides, options, on_event)
    roots, unused = _splits(location, folders, wrapper, options, on_event)
    inner = {folders.wrapper(root): split for root, split in roots.items()}
    # Where it is so in one split alone, that split has but one class.
    if not inner.keys() & roots.keys():
        roots = inner
    if not by_folder or not _has_class_folders(location, folders, roots):
        return Layout(location, roots, unused, labels, frozenset())
    classes = frozenset(composed(name) for root in roots for name in folders.children(root))
    skipped = sorted(root for root in roots if root and role_of_folder(_last(root)) is None)
    if skipped:
        on_event(
            Notice(
                f"{location}: takes {' and '.join(skipped)} as no class, but as the folder around the classes "
                f"{shortened(sorted(classes))}; if it is the class, say so in a label file "
                "(data.labels)"
            )
        )
    return Layout(location, roots, unused, None, classes)


def _splits(
    location: str, folders: Folders, wrapper: str, options: DataOptions, on_event: EventSink
) -> tuple[dict[str, SplitName | None], tuple[str, ...]]:
    """The roots that are used, each with its split, and those that are not.

    All folders must stand for splits and one for train, as `test` may be a class, too.
    """
    children = folders.children(wrapper)
    found = {name: role for name in sorted(children) if (role := role_of_folder(name)) is not None}
    others = [name for name in sorted(children) if name not in found]
    roles = set(found.values())
    if len(roles) < 2 or (others and "train" not in roles):
        return {wrapper: None}, ()
    stray = others[0] if others else folders.examples.get(wrapper)
    if stray is not None:
        raise wrong(
            location,
            f"found images in {' and '.join(found)} and others beside these folders (such as {stray}); expected split "
            "folders or class folders; move or rename",
        )
    by_role: dict[Role, list[str]] = {}
    for name, role in found.items():
        by_role.setdefault(role, []).append(f"{wrapper}{name}/")
    splits = use_of_roles(location, by_role, options, on_event)
    roots = {root: split for role, split in splits.items() for root in by_role[role]}
    return roots, tuple(root for role in by_role.keys() - splits.keys() for root in by_role[role])


def _sides(children: Iterable[str]) -> dict[str, tuple[Role, str]]:
    """Each folder's part and side, where all are called so and both sides are there to train on; else nothing."""
    found = {name: role_and_side(name) for name in children}
    sides = {name: each for name, each in found.items() if each is not None}
    whole = len(sides) == len(found) and {("train", "A"), ("train", "B")} <= set(sides.values())
    return sides if whole else {}


def _in_sides(
    location: str, wrapper: str, sides: Mapping[str, tuple[Role, str]], options: DataOptions, on_event: EventSink
) -> Layout:
    """As the published sets of CycleGAN are laid out; the sides are the classes."""
    by_role: dict[Role, list[str]] = {}
    for name, (role, _) in sorted(sides.items()):
        by_role.setdefault(role, []).append(name)
    splits = use_of_roles(location, by_role, options, on_event)
    roots = {f"{wrapper}{name}/": splits[role] for role in splits for name in by_role[role]}
    unused = tuple(f"{wrapper}{name}/" for role in by_role.keys() - splits.keys() for name in by_role[role])
    classes = {f"{wrapper}{name}/": side for name, (_, side) in sides.items()}
    return Layout(location, roots, unused, None, frozenset(classes.values()), classes)


def _has_class_folders(location: str, folders: Folders, roots: Mapping[str, SplitName | None]) -> bool:
    """Whether images lie in folders; all or none must."""
    flat = next((folders.examples[root] for root in roots if root in folders.examples), None)
    nested = next((example for root in roots for example in folders.children(root).values()), None)
    if flat is not None and nested is not None:
        raise wrong(
            location,
            f"found images both at the top ({flat}) and in folders ({nested}); expected class folders only, or all at "
            "the top for unlabelled images, or data.labels to be none or a label file",
        )
    return nested is not None


def _last(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]
