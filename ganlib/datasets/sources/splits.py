"""The words by which folders and files say which part of a data set they are, and which parts are used.

The words, and where in a file's name they may stand, are those of Hugging
Face's datasets library (`SPLIT_KEYWORDS` in its `data_files.py`), with
MNIST's `t10k`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Literal

from ganlib.config import DataOptions
from ganlib.datasets.files.places import wrong
from ganlib.datasets.items import SplitName
from ganlib.events import EventSink, Notice

Role = Literal["train", "validation", "test"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "t10k"), "test"),
}
_WORDS = "|".join(sorted(_ROLES, key=len, reverse=True))
# Such as `train`, `Testing`, `train2017`, `training_set` and `val-images`; not `train station`.
_FOLDER = re.compile(rf"({_WORDS})[-_ ]?(set|data|images|imgs|split|[0-9]+)?", re.IGNORECASE)
# As the published sets of CycleGAN are laid out.
_SIDE = re.compile(r"(train|val|test)_?([AB])")
# Such as `train-00000-of-00002.parquet` and `imagenet_val_07.tar`; not `latest.tar`.
_FILE = re.compile(rf"(?<![a-z])({_WORDS})(?![a-z])")


def role_of_folder(name: str) -> Role | None:
    """What a folder of this name stands for, unless it is a class; by the whole of its name."""
    match = _FOLDER.fullmatch(name)
    return _ROLES[match[1].lower()] if match else None


def role_and_side(name: str) -> tuple[Role, str] | None:
    """What a folder such as `trainA` or `testB` stands for: the part, and which of two kinds of images."""
    match = _SIDE.fullmatch(name)
    return (_ROLES[match[1]], match[2]) if match else None


def role_of_file(path: str) -> Role | None:
    """What a file is by a word of its name, or else of the nearest folder that has one."""
    words = (_FILE.search(part) for part in reversed(path.lower().split("/")))
    return next((_ROLES[match[1]] for match in words if match), None)


def use_of_roles(
    location: str, found: Mapping[Role, Collection[str]], options: DataOptions, on_event: EventSink
) -> dict[Role, SplitName | None]:
    """Which split the images of each role are in; None: by hash. A role that is missing here is not used.

    Train is used with test or, where there is none, with validation.

    Args:
        location: of the source, for messages.
        found: the names of each role that is there, for messages.
        options: `split` counts.
        on_event: hears of what is used, and of what is not.

    Raises:
        UserError: there are validation and test, but no train.
    """
    if options.split == "hash" or len(found) < 2:
        return dict.fromkeys(found)
    shown = {role: " and ".join(sorted(names)) for role, names in found.items()}
    if "train" not in found:
        raise wrong(
            location,
            f"found images in {shown['test']} and {shown['validation']}; expected a part called train beside them; "
            "rename one, or set data.split to hash, which merges them",
        )
    held_out: Role = "test" if "test" in found else "validation"
    text = f"{location}: trains on {shown['train']} and holds out {shown[held_out]}, as they are called"
    if len(found) > 2:
        text += f"; does not use {shown['validation']} (data.split=hash would use all)"
    on_event(Notice(text))
    return {"train": "train", held_out: "test"}
