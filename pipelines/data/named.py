"""Data sets known by name: their official files, and what is made of them.

Names, addresses and checksums of the files are torchvision's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data import converting

Converter = Callable[[Mapping[str, Path], Path], None]
DRIVE = "drive:"


@dataclass(frozen=True)
class Official:
    """A file as its makers publish it; an address `drive:ID` is a file on Google Drive."""

    name: str
    md5: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedSet:
    """A data set known by name.

    `forms` are the ways it can be had, each complete in itself; the first one
    is what is downloaded. `convert` makes a folder, or a file of this `suffix`,
    from the files of a form. `fits` says what it is and how to train on it.
    """

    name: str
    suffix: str
    fits: str
    forms: Callable[[], tuple[tuple[Official, ...], ...]]
    convert: Converter


def named_sets() -> dict[str, NamedSet]:
    """All that `gan data add` knows by name."""
    grey = "28 x 28 grey, 10 classes, 60,000 training and 10,000 test images; see gan preset mnist-mlp"
    cifar = "32 x 32 RGB, {} classes, 50,000 training and 10,000 test images; see gan preset cifar10-dcgan"
    known = (
        NamedSet("mnist", "", grey, _mnist("MNIST"), converting.copy_files),
        NamedSet("fashion-mnist", "", grey, _mnist("FashionMNIST"), converting.copy_files),
        NamedSet("kmnist", "", grey, _mnist("KMNIST"), converting.copy_files),
        NamedSet("cifar10", "", cifar.format(10), _archived("CIFAR10"), _cifar("CIFAR10")),
        NamedSet("cifar100", "", cifar.format(100), _archived("CIFAR100"), _cifar("CIFAR100")),
        NamedSet(
            "svhn",
            ".npz",
            "32 x 32 RGB, 10 classes, 73,257 training and 26,032 test images; see gan preset cifar10-dcgan",
            _svhn,
            converting.svhn,
        ),
        NamedSet(
            "stl10",
            ".npz",
            "96 x 96 RGB, 10 classes, the 5,000 training and 8,000 test images that have labels; "
            "data.image_size=64 or 128 fits",
            _archived("STL10", leave_out=("unlabeled_X.bin",)),
            converting.stl10,
        ),
        NamedSet(
            "celeba",
            ".zip",
            "178 x 218 RGB, unlabelled, 182,637 training (with the validation part) and 19,962 test images; "
            "set network.conditional=false; see gan preset photos-256",
            _celeba,
            converting.celeba,
        ),
    )
    return {each.name: each for each in known}


def _torchvision(name: str) -> Any:
    # Imported here: torch takes seconds that the names do not need.
    from torchvision import datasets

    return getattr(datasets, name)


def _mnist(name: str) -> Callable[[], tuple[tuple[Official, ...], ...]]:
    def forms() -> tuple[tuple[Official, ...], ...]:
        kind = _torchvision(name)
        return (
            tuple(
                Official(file, md5, tuple(f"{mirror}{file}" for mirror in kind.mirrors)) for file, md5 in kind.resources
            ),
        )

    return forms


def _archived(name: str, leave_out: tuple[str, ...] = ()) -> Callable[[], tuple[tuple[Official, ...], ...]]:
    """An archive, or what is in it."""

    def forms() -> tuple[tuple[Official, ...], ...]:
        kind = _torchvision(name)
        archive = Official(kind.filename, kind.tgz_md5, (kind.url,))
        return (archive,), _members(kind, leave_out)

    return forms


def _members(kind: Any, leave_out: tuple[str, ...] = ()) -> tuple[Official, ...]:
    listed = [(name, md5) for name, md5 in (*kind.train_list, *kind.test_list) if name not in leave_out]
    if "meta" in vars(kind):
        listed.append((kind.meta["filename"], kind.meta["md5"]))
    return tuple(Official(name, md5) for name, md5 in listed)


def _cifar(name: str) -> Converter:
    def convert(files: Mapping[str, Path], target: Path) -> None:
        kind = _torchvision(name)
        folder = target / kind.base_folder
        folder.mkdir()
        if kind.filename in files:
            converting.unpack(files[kind.filename], [member.name for member in _members(kind)], folder)
        else:
            converting.copy_files(files, folder)

    return convert


def _svhn() -> tuple[tuple[Official, ...], ...]:
    listed = _torchvision("SVHN").split_list
    return (tuple(Official(name, md5, (url,)) for url, name, md5 in (listed["train"], listed["test"])),)


def _celeba() -> tuple[tuple[Official, ...], ...]:
    listed = _torchvision("CelebA").file_list
    wanted = (converting.CELEBA_IMAGES, converting.CELEBA_PARTITION)
    return (tuple(Official(name, md5, (f"{DRIVE}{drive_id}",)) for drive_id, md5, name in listed if name in wanted),)
