"""Images of any size into packed uint8 shards, split by content.

The result is a function of the images' bytes, names and the `data`
parameters: folder or zip, listing order, date and place do not matter.
"""

import csv
import hashlib
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions, ImageSpec
from ganlib.datasets.decoding import decode, max_file_bytes
from ganlib.datasets.manifest import (
    MANIFEST,
    QUARANTINE,
    Manifest,
    SplitSummary,
    labels_name,
    shard_lengths,
    shard_name,
)
from ganlib.datasets.sources import Rejected, Source, Unreadable, open_source, printable
from ganlib.errors import UserError
from ganlib.events import EventSink, Notice, Progress, ignore
from ganlib.replacing import replacing

FEWEST_IMAGES = 2
UNLABELLED = -1
# Each open shard holds a file descriptor, of which a process has 1024 by default.
MOST_SHARDS = 500
_CHUNK_IMAGES = 256
_PROGRESS_EVERY_S = 0.5
_REASONS_SHOWN = 3


@dataclass(frozen=True, slots=True, order=True)
class _Image:
    """A decoded image: where it belongs, and its row among the unsorted pixels."""

    sha256: bytes
    name: str
    label: int
    row: int

    def is_test(self, test_share: float) -> bool:
        """Held out by content: the hash as a number in [0, 1) falls below the share."""
        return int.from_bytes(self.sha256[:8], "big") / 2**64 < test_share


def pack(options: DataOptions, destination: Path, *, on_event: EventSink = ignore) -> Manifest:
    """Decode `data.source` into `destination`, replacing what `pack` wrote there before.

    An image is in the test split if its file's SHA-256, as a number in [0, 1),
    is below `data.test_share`; so adding images never moves old ones. Within a
    split, images are in the order of that hash. Memory does not grow with the
    images but for their names and hashes: pixels go through a scratch file.

    Writes shards `train-00000.npy` … (uint8 [N, H, W, C], N at most
    `data.shard_images`), `train-labels.npy` (int64 [N], unless unlabelled), the
    same for `test`, `manifest.json`, and `quarantine.csv` with the files that
    were left out and why. The bytes are the same for the same images.

    Raises:
        UserError: the source is unusable, too many files are unreadable, a split
            has fewer than two images, a class has none to train on, or the
            destination holds something else.
    """
    with open_source(options.source, max_file_bytes=max_file_bytes(options)) as source:
        _check_destination(options, destination)
        _announce_layout(source, on_event)
        # The scratch file has no name: it vanishes with the process, however that ends.
        with replacing(destination) as folder, tempfile.TemporaryFile(dir=folder) as scratch:
            images, rejected = _decode_all(source, options, scratch, on_event)
            _check_readable(options, len(images), rejected)
            test, train = (
                sorted(image for image in images if image.is_test(options.test_share) is held_out)
                for held_out in (True, False)
            )
            _check_splits(options, source.classes, train, test)
            shape = (len(images), options.image_size, options.image_size, options.channels)
            pixels = np.memmap(scratch, dtype=np.uint8, mode="r", shape=shape).view(np.ndarray)
            manifest = Manifest(
                format_version=1,
                image=ImageSpec(size=options.image_size, channels=options.channels, classes=source.classes),
                resizer=options.resizer,
                shard_images=options.shard_images,
                train=_write_split(folder, "train", train, pixels, source.classes, options.shard_images),
                test=_write_split(folder, "test", test, pixels, source.classes, options.shard_images),
                quarantined=len(rejected),
            )
            manifest.write(folder)
            _write_quarantine(folder, rejected)
    if rejected:
        on_event(Notice(f"{len(rejected)} files left out, listed in {destination / QUARANTINE}: {_first(rejected)}"))
    return manifest


def _check_destination(options: DataOptions, destination: Path) -> None:
    source, target = Path(options.source).resolve(), destination.resolve()
    if target.is_relative_to(source) or source.is_relative_to(target):
        raise UserError(f"data.source={options.source}: overlaps with {destination}; keep the images elsewhere")
    ours = (target / MANIFEST).is_file() or (target.is_dir() and not any(target.iterdir()))
    if target.exists() and not ours:
        raise UserError(f"{destination}: holds something other than packed data; move it away")


def _announce_layout(source: Source, on_event: EventSink) -> None:
    on_event(Notice(f"{len(source)} image files, {len(source.classes)} classes"))
    if len(source.classes) == 1:
        name = source.classes[0]
        on_event(Notice(f"all images are in the one class {name!r}; if that is only a wrapper, leave it out"))


def _decode_all(
    source: Source, options: DataOptions, scratch: IO[bytes], on_event: EventSink
) -> tuple[list[_Image], list[Rejected]]:
    """Decode each member once; the pixels of `_Image.row` i are the i-th in the scratch file."""
    labels = {name: label for label, name in enumerate(source.classes)}
    images: list[_Image] = []
    rejected = list(source.rejected)
    started = told = time.monotonic()
    for seen, member in enumerate(source, start=1):
        try:
            content = member.read()
            pixels = decode(content, options)
        except Unreadable as error:
            rejected.append(Rejected(printable(member.name), str(error)))
        else:
            scratch.write(pixels.tobytes())
            label = UNLABELLED if member.label is None else labels[member.label]
            images.append(_Image(hashlib.sha256(content).digest(), member.name, label, row=len(images)))
        now = time.monotonic()
        if now - told >= _PROGRESS_EVERY_S or seen == len(source):
            told = now
            on_event(Progress(seen, len(source), seen / max(now - started, 1e-9)))
    scratch.flush()
    return images, rejected


def _check_readable(options: DataOptions, readable: int, rejected: Sequence[Rejected]) -> None:
    total = readable + len(rejected)
    if readable == 0 or len(rejected) > options.max_unreadable_share * total:
        raise UserError(
            f"data.source={options.source}: {len(rejected)} of {total} files are unusable, expected at most the share "
            f"data.max_unreadable_share={options.max_unreadable_share}; first: {_first(rejected)}"
        )


def _first(rejected: Sequence[Rejected]) -> str:
    ordered = sorted(rejected)[:_REASONS_SHOWN]
    return "; ".join(f"{item.name}: {item.reason}" for item in ordered)


def _check_splits(
    options: DataOptions, classes: Sequence[str], train: Sequence[_Image], test: Sequence[_Image]
) -> None:
    for name, split in (("training", train), ("test", test)):
        if len(split) < FEWEST_IMAGES:
            raise UserError(
                f"data.test_share={options.test_share}: {len(split)} of {len(train) + len(test)} images fall into the "
                f"{name} split, expected at least {FEWEST_IMAGES}; add images or change the share"
            )
        shards = -(-len(split) // options.shard_images)
        if shards > MOST_SHARDS:
            raise UserError(
                f"data.shard_images={options.shard_images}: makes {shards} shards of the {name} split, expected at "
                f"most {MOST_SHARDS}; raise it to {-(-len(split) // MOST_SHARDS)} or more"
            )
    trained = {image.label for image in train}
    missing = [name for label, name in enumerate(classes) if label not in trained]
    if missing:
        raise UserError(
            f"data.source={options.source}: no readable training image of {printable(', '.join(missing[:10]))} "
            f"({len(missing)} of {len(classes)} classes); add images or remove these classes"
        )


def _write_split(
    folder: Path,
    name: str,
    images: Sequence[_Image],
    pixels: NDArray[np.uint8],
    classes: Sequence[str],
    shard_images: int,
) -> SplitSummary:
    """Write shards and labels of one split, taking its rows out of all `pixels` [N, H, W, C]."""
    shape = pixels.shape[1:]
    rows = np.array([image.row for image in images])
    labels = np.array([image.label for image in images], dtype="<i8")
    digest = hashlib.sha256(f"{len(images)} {shape} {len(classes)}".encode())
    histogram = np.zeros((shape[-1], 256), dtype=np.int64)
    end = 0
    for index, length in enumerate(shard_lengths(len(images), shard_images)):
        start, end = end, end + length
        with (folder / shard_name(name, index)).open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (length, *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for at in range(start, end, _CHUNK_IMAGES):
                chunk = pixels[rows[at : min(at + _CHUNK_IMAGES, end)]]
                file.write(chunk.tobytes())
                digest.update(chunk)
                histogram += [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(chunk, -1, 0)]
    if classes:
        np.save(folder / labels_name(name), labels)
        digest.update(labels.tobytes())
    moments = [_mean_and_std(counts) for counts in histogram.tolist()]
    return SplitSummary(
        images=len(images),
        per_class={name: int((labels == label).sum()) for label, name in enumerate(classes)},
        digest=digest.hexdigest(),
        pixel_mean=tuple(mean for mean, _ in moments),
        pixel_std=tuple(std for _, std in moments),
    )


def _mean_and_std(counts: Sequence[int]) -> tuple[float, float]:
    """Of the values 0 … 255 that occur so often; the sums are exact integers."""
    total = sum(counts)
    first = sum(value * count for value, count in enumerate(counts))
    second = sum(value * value * count for value, count in enumerate(counts))
    return first / total, math.sqrt((total * second - first * first) / total**2)


def _write_quarantine(folder: Path, rejected: Sequence[Rejected]) -> None:
    with (folder / QUARANTINE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "reason"))
        writer.writerows((item.name, item.reason) for item in sorted(rejected))
