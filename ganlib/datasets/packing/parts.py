"""The work of one worker: a part of a source decoded into two files of the scratch folder.

`<identity>.npy` has the pixels, uint8 [N, H, W, C]; `<identity>.json`, written
last, what is known about each. The identity covers the part's members and all
that their pixels depend on, so that a part that is there need not be made
again: that is how packing goes on after a crash, and how it takes in new
images without decoding the old ones.
"""

import hashlib
import json
import mmap
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from multiprocessing import parent_process
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions
from ganlib.datasets.cleaning.cleaned import Cleaned, Finding
from ganlib.datasets.cleaning.policy import clean
from ganlib.datasets.items import COMPANION, Item, Part, Refusal, printable
from ganlib.errors import UserError

FORMAT = 2
# Whether an image is unusual among all the others is not decided here.
_WHOLE_SET = ("exact_duplicate", "near_duplicate", "split_overlap")
_DECODERS = ("numpy", "opencv-python-headless", "pillow")
# A few at a time keep the memory small.
_SUMMED_AT_ONCE = 16
# What the journal holds while no member is being decoded.
_NONE = (1 << 64) - 1


class DecodedImage(NamedTuple):
    """A decoded image: all that ordering, splitting and statistics need; its place is its pixels' in the part.

    `sha256` and `difference_hash` are bytes; `mode`, `width`, `height` and
    `peak` are of the file. `sums` and `square_sums` are of all values of each channel,
    and of their squares. A plain tuple, as it crosses processes for every image.
    """

    name: str
    key: str
    label: str | None
    split: str | None
    tile: int
    sha256: bytes
    difference_hash: bytes
    mode: str
    width: int
    height: int
    peak: int | None
    sums: tuple[int, ...]
    square_sums: tuple[int, ...]


class Case(NamedTuple):
    """A row of the quarantine list; the action of a companion of images is `skip`."""

    name: str
    kind: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """What is known of a part.

    `files` counts the members that were met, but for companions of images, and
    `labels` those of each class.
    """

    identity: str
    files: int
    labels: dict[str, int]
    images: tuple[DecodedImage, ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """A part to be decoded, but for members whose decoders died."""

    part: Part
    options: DataOptions
    folder: Path
    deadly: frozenset[int] = frozenset()

    @property
    def identity(self) -> str:
        """Hex SHA-256 of the members and of all that their pixels depend on."""
        return hashlib.sha256(f"{self.part.identity} {_fingerprint(self.options)}".encode()).hexdigest()


def decoder_versions() -> dict[str, str]:
    """What the pixels were decoded and resized with."""
    return {name: version(name) for name in _DECODERS}


@cache
def _fingerprint(options: DataOptions) -> str:
    relevant = options.model_dump(
        mode="json", exclude={"source", "labels", "split", "test_share", "shard_images", "inputs", "cleaning"}
    )
    if options.inputs is not None and options.paired:
        relevant["inputs"] = options.inputs.model_dump(mode="json")
    cleaning = options.cleaning.model_dump(mode="json", exclude={"max_dropped_share", "near_duplicate_bits"})
    cleaning["policy"] = {kind: action for kind, action in cleaning["policy"].items() if kind not in _WHOLE_SET}
    text = json.dumps([FORMAT, decoder_versions(), relevant, cleaning], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def decode_part(work: Work) -> DecodedPart:
    """Decode a part into `work.folder`, or read what is there of it.

    Raises:
        UserError: a policy says `fail`, the source went away, or the disk is full.
    """
    try:
        identity = work.identity
        return _read(work.folder, identity) or _decode(work, identity)
    except OSError as error:
        raise UserError(
            f"{work.folder}: cannot be written ({error.strerror or error}); free or repair the disk and run again, "
            "what is decoded so far is kept"
        ) from None


def after_death(work: Work) -> Work:
    """The same work without the member at which the worker died."""
    journal = _journal(work.folder, work.identity)
    noted = journal.read_bytes() if journal.exists() else b""
    at = int.from_bytes(noted, "little") if noted else _NONE
    if at == _NONE or at in work.deadly:
        raise UserError(
            f"{work.folder}: a worker died while it read the source, twice; expected memory and disk enough for "
            "preprocess.workers, lower it"
        )
    return replace(work, deadly=work.deadly | {at})


def write_header(file: IO[bytes], dtype: str, shape: tuple[int, ...]) -> None:
    """Begin an `.npy` file in C order; the elements are written after it.

    `np.save` would do both, but does not notice where the disk has no room for the last of them.
    """
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})


def open_pixels(folder: Path, identity: str) -> NDArray[np.uint8]:
    """The pixels of a decoded part, memory-mapped."""
    pixels: NDArray[np.uint8] = np.load(folder / f"{identity}.npy", mmap_mode="r", allow_pickle=False)
    return pixels


def remove_parts(folder: Path, *, keep: Callable[[str], bool]) -> None:
    """Delete parts, and what crashes left of them, unless they are to be kept."""
    for path in folder.iterdir():
        if path.suffix not in (".npy", ".json") or not keep(path.stem):
            path.unlink()


def _decode(work: Work, identity: str) -> DecodedPart:
    options = work.options
    images: list[DecodedImage] = []
    pixels: list[NDArray[np.uint8]] = []
    cases: list[Case] = []
    files = 0
    labels: Counter[str] = Counter()
    with _Journal(_journal(work.folder, identity)) as journal:
        for index, item in enumerate(work.part.items()):
            files += 1
            if item.label is not None:
                labels[item.label] += 1
            journal.at(index)
            if isinstance(item, Refusal) and item.kind == COMPANION:
                files -= 1
                cases.append(Case(printable(item.name), COMPANION, "skip", printable(item.detail)))
            elif isinstance(item, Refusal):
                cases.append(_refused(item.name, item.kind, item.detail, options))
            elif index in work.deadly:
                detail = "its decoder died, or took more than data.limits.max_decode_s"
                cases.append(_refused(item.name, "damaged", detail, options))
            else:
                # In a worker that takes too long even the process may be ended: `after_death` goes on without the item.
                cleaned = clean(item, options, expendable=parent_process() is not None)
                images.extend(_images(item, cleaned))
                pixels.extend(cleaned.pixels)
                cases.extend(_case(printable(item.name), finding) for finding in cleaned.findings)
            journal.at(_NONE)  # who dies now dies of reading the next one
    together = np.stack(pixels) if pixels else _no_pixels(options)
    decoded = DecodedPart(identity, files, dict(labels), tuple(_with_sums(images, together)), tuple(cases))
    _write(work.folder, decoded, together)
    return decoded


def _images(item: Item, cleaned: Cleaned) -> Iterator[DecodedImage]:
    """One for each tile, without its sums."""
    for tile in range(len(cleaned.pixels)):
        yield DecodedImage(
            name=printable(item.name),
            key=item.key,
            label=item.label,
            split=item.split,
            tile=tile,
            sha256=cleaned.sha256,
            difference_hash=cleaned.difference_hash,
            mode=cleaned.mode,
            width=cleaned.width,
            height=cleaned.height,
            peak=cleaned.peak,
            sums=(),
            square_sums=(),
        )


def _case(name: str, finding: Finding) -> Case:
    return Case(name, finding.kind, finding.action, printable(finding.detail))


def _refused(name: str, kind: str, detail: str, options: DataOptions) -> Case:
    if options.cleaning.policy.action(kind) == "fail":
        raise UserError(
            f"data.cleaning.policy.{kind}=fail: {printable(name)}: {printable(detail)}; remove the file or set the "
            "policy to drop"
        )
    return Case(printable(name), kind, "drop", printable(detail))


def _no_pixels(options: DataOptions) -> NDArray[np.uint8]:
    return np.empty((0, *options.packed_shape), np.uint8)


def _with_sums(images: list[DecodedImage], pixels: NDArray[np.uint8]) -> Iterator[DecodedImage]:
    channels = pixels.shape[3]
    for start in range(0, len(images), _SUMMED_AT_ONCE):
        # Planes of float64: the sums are whole numbers below 2^53 and so exact, and ten times as quick as integers.
        some = pixels[start : start + _SUMMED_AT_ONCE, :, : pixels.shape[1]]  # of a pair, the image itself
        planes = some.reshape(len(some), some.shape[1] * some.shape[2], channels).transpose(0, 2, 1)
        values = planes.astype(np.float64, order="C")
        sums = values.sum(axis=2).astype(np.int64).tolist()
        squares = np.einsum("ncp,ncp->nc", values, values).astype(np.int64).tolist()
        for image, first, second in zip(images[start:], sums, squares, strict=False):
            yield image._replace(sums=tuple(first), square_sums=tuple(second))


def _write(folder: Path, decoded: DecodedPart, pixels: NDArray[np.uint8]) -> None:
    """The pixels first, so that the description vouches for them."""
    temporary = folder / f"{decoded.identity}.{os.getpid()}.partial"
    with temporary.open("wb") as file:
        write_header(file, "|u1", pixels.shape)
        file.write(pixels.data)
    temporary.replace(folder / f"{decoded.identity}.npy")
    content = {
        "files": decoded.files,
        "labels": decoded.labels,
        "crc32": zlib.crc32(pixels.data),
        "images": [_to_json(image) for image in decoded.images],
        "cases": decoded.cases,
    }
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(folder / f"{decoded.identity}.json")
    _journal(folder, decoded.identity).unlink(missing_ok=True)


def _read(folder: Path, identity: str) -> DecodedPart | None:
    """A part that an earlier run decoded; None where there is none, or a damaged one."""
    try:
        content = json.loads((folder / f"{identity}.json").read_bytes())
        pixels = open_pixels(folder, identity)
        images = tuple(_from_json(image) for image in content["images"])
        cases = tuple(Case(*case) for case in content["cases"])
        files, labels = content["files"], content["labels"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, EOFError):
        return None
    if len(pixels) != len(images) or zlib.crc32(np.ascontiguousarray(pixels).data) != content["crc32"]:
        return None
    return DecodedPart(identity, files, labels, images, cases)


def _to_json(image: DecodedImage) -> dict[str, Any]:
    return image._asdict() | {"sha256": image.sha256.hex(), "difference_hash": image.difference_hash.hex()}


def _from_json(fields: dict[str, Any]) -> DecodedImage:
    hashes = {name: bytes.fromhex(fields[name]) for name in ("sha256", "difference_hash")}
    sums = {name: tuple(fields[name]) for name in ("sums", "square_sums")}
    return DecodedImage(**{**fields, **hashes, **sums})


def _journal(folder: Path, identity: str) -> Path:
    return folder / f"{identity}.at"


class _Journal:
    """Which member is being decoded, in a file that survives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_Journal":
        with self._path.open("w+b") as file:
            # Written, as a hole in the file would end the process where the disk is full.
            file.write(_NONE.to_bytes(8, "little"))
            file.flush()
            self._map = mmap.mmap(file.fileno(), 8)
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def at(self, index: int) -> None:
        self._map[:] = index.to_bytes(8, "little")
