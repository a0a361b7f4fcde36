"""What `data.source` holds, decided by names and first bytes."""

import re
from collections import Counter
from itertools import islice
from typing import Literal

from ganlib.config import DataOptions, FoldersOptions
from ganlib.datasets.files import AnyFiles, CompressedTar, Folder, SingleFile, Tar, open_files
from ganlib.datasets.files.compression import compression_of
from ganlib.datasets.files.formats import is_image_name, sort_by_name
from ganlib.datasets.files.names import suffix_of
from ganlib.datasets.files.opening import first_block
from ganlib.datasets.files.places import wrong
from ganlib.datasets.items import FileEntry, Item, Source
from ganlib.datasets.sources.cifar import CifarSource, is_cifar
from ganlib.datasets.sources.folder_pairs import pairs_of
from ganlib.datasets.sources.image_files import ImageFiles
from ganlib.datasets.sources.splits import role_of_folder
from ganlib.datasets.sources.webdataset import WebDatasetSource, looks_like_webdataset
from ganlib.events import EventSink, ignore

Kind = Literal["images", "webdataset", "npz", "idx", "cifar", "parquet"]
_LOOKED_AT = 200
_EXPECTED = (
    "expected a folder or archive of images, WebDataset shards, or a .parquet, .npz, IDX or CIFAR file; see "
    "data/README.md"
)
_SHARD = re.compile(r"\.(tar|tgz|tar\.(gz|bz2|xz|zst))$")
_IDX = re.compile(r"[.-]idx[1-4]-ubyte(\.gz)?$")
_CIFAR = re.compile(
    r"(^|/)((data_batch_\d+|test_batch)(\.bin)?|batches\.meta(\.txt)?|(fine|coarse)_label_names\.txt|"
    r"(train|test)\.bin|cifar-100-python/(train|test|meta))$"
)
_IDX_HEAD = re.compile(rb"\0\0\x08[\1-\4]")
# Protocol 2 or later.
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def open_source(options: DataOptions, on_event: EventSink = ignore) -> Source:
    """Open `data.source`, whatever it is; its images are looked at later, when its parts are asked for.

    Args:
        options: the `data` section.
        on_event: hears, while parts are asked for, how folders and names are understood.

    Raises:
        UserError: it is missing, cannot be read, is a damaged archive, or nothing that is known here.
    """
    files = open_files(options.source, options.limits.max_files)
    kind = _kind_of_file(files) if isinstance(files, SingleFile) else _kind_of_members(files)
    if options.paired and kind != "images":
        raise wrong(options.source, f"found {kind}", "expected image files, as data.inputs asks for pairs of them")
    match kind:
        case "images":
            assert not isinstance(files, SingleFile)
            if isinstance(options.inputs, FoldersOptions):
                return pairs_of(files, options, on_event)
            return ImageFiles(files, options, on_event)
        case "webdataset":
            return WebDatasetSource(files, options, on_event)
        case "npz":
            from ganlib.datasets.sources.npz import NpzSource

            return NpzSource(files, options, on_event)
        case "idx":
            from ganlib.datasets.sources.idx import IdxSource

            return IdxSource(files, options, on_event)
        case "cifar":
            return CifarSource(files, options)
        case "parquet":
            from ganlib.datasets.sources.parquet import ParquetSource

            return ParquetSource(files, options, on_event)


def is_labelled(options: DataOptions) -> bool:
    """Whether the images have labels, as quickly as the kind of source allows.

    Where `open_source` takes the source, all its images are as the first.

    Raises:
        UserError: the source is unusable, or holds no images.
    """
    source = open_source(options)
    if isinstance(source, ImageFiles):
        return source.is_labelled()
    for part in source.parts():
        for item in part.items():
            if isinstance(item, Item):
                return item.label is not None
    raise wrong(options.source, f"found no usable image; {_EXPECTED}")


def check_readable(options: DataOptions) -> None:
    """See, at the first of it, that a source holds an image; labels and the layout are not judged.

    Raises:
        UserError: the source is unusable, or nothing in it can be read; the message says what there is instead.
    """
    source = open_source(options.model_copy(update={"labels": "none", "split": "hash"}))
    if isinstance(source, ImageFiles):
        source.check_readable()
        return
    for part in source.parts():
        if any(isinstance(item, Item) for item in part.items()):
            return
    raise wrong(options.source, f"found no usable image; {_EXPECTED}")


def most_images(options: DataOptions) -> tuple[int, bool] | None:
    """How many images there are at most, by their names, and whether some lie in folders for splits.

    None where only reading tells: arrays, compressed archives, and `data.fit=tile`.

    Raises:
        UserError: the source is unusable.
    """
    files = open_files(options.source, options.limits.max_files)
    if isinstance(files, SingleFile | CompressedTar) or options.fit == "tile" or _kind_of_members(files) != "images":
        return None
    names = files.names() if isinstance(files, Folder) else (entry.name for entry in files.entries())
    count, in_splits = 0, False
    for name in names:
        if sort_by_name(name) not in ("image", None):
            continue
        count += 1
        in_splits = in_splits or any(map(role_of_folder, name.split("/")[:-1]))
    return count, in_splits


def _kind_of_members(files: AnyFiles) -> Kind:
    """What most of the first files are by their names; images where none says anything."""
    in_folder = files.description == "folder"
    names = [entry.name for entry in islice(files.entries(), _LOOKED_AT) if isinstance(entry, FileEntry)]
    if isinstance(files, Tar | CompressedTar) and looks_like_webdataset(names):
        return "webdataset"
    kinds = (_kind_by_name(name.lower(), in_folder) for name in names)
    found = Counter(kind for kind in kinds if kind is not None)
    if found:
        return found.most_common(1)[0][0]
    # The files of CIFAR-100 are called `train`, `test` and `meta`: each by itself may be anything.
    return "cifar" if is_cifar(names) else "images"


def _kind_by_name(name: str, in_folder: bool) -> Kind | None:
    if is_image_name(name):
        return "images"
    if _SHARD.search(name):
        return "webdataset" if in_folder else None
    if _IDX.search(name):
        return "idx"
    if _CIFAR.search(name):
        return "cifar"
    match suffix_of(name):
        case ".parquet":
            return "parquet"
        case ".npz" | ".npy":
            return "npz"
    return None


def _kind_of_file(file: SingleFile) -> Kind:
    """What a file by itself is, by its first bytes."""
    with file.open(file.name) as opened:
        head = opened.read(512)
    compression = compression_of(head)
    if compression is not None:
        head = first_block(file.location, compression)
    name = file.name.lower()
    if _IDX_HEAD.match(head):
        return "idx"
    if compression is None:
        if head.startswith(b"PAR1"):
            return "parquet"
        if head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
            return "npz"
        if _PICKLE.match(head) or _CIFAR.search(name) or name.endswith(".bin"):
            return "cifar"
    if is_image_name(name):
        raise wrong(file.location, f"one image file; {_EXPECTED}")
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise wrong(
            file.location, f"a web page; for the files it lists put / at the end of the address, else {_EXPECTED}"
        )
    raise wrong(file.location, f"nothing that can be read here; {_EXPECTED}")
