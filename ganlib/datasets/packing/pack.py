"""Images of any size into packed uint8 shards, cleaned and split by content.

The result is a function of the images, their names and labels, the `data`
parameters and the decoders' versions: what kind of source they come from, in
what order they are listed, and how many workers decode them do not matter.
"""

import csv
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataOptions, ImageSpec, PreprocessOptions
from ganlib.datasets.items import shortened
from ganlib.datasets.packed.manifest import MANIFEST, QUARANTINE, Manifest, SplitSummary, labels_name, shard_name
from ganlib.datasets.packing.index import ORDER
from ganlib.datasets.packing.parts import decoder_versions, open_pixels, write_header
from ganlib.datasets.packing.survey import SPLITS, Survey, survey
from ganlib.datasets.sources.grouping import grouped
from ganlib.errors import UserError
from ganlib.events import EventSink, Notice, ignore
from ganlib.replacing import replacing

FEWEST_IMAGES = 2
# Every map of a file counts against a limit of the system, commonly 65,530 a process.
MOST_SHARDS = 20_000
_OPEN_PARTS = 128
_CHUNK_IMAGES = 256


def pack(
    options: DataOptions,
    preprocess: PreprocessOptions,
    destination: Path,
    *,
    scratch: Path,
    on_event: EventSink = ignore,
) -> Manifest:
    """Decode and clean `data.source` into `destination`, replacing what `pack` wrote there before.

    Unless the source has a train and a test part of its own, an image is in
    the test split if its picture's SHA-256, as a number in [0, 1), is below
    `data.test_share`; so adding images never moves old ones. But of a class
    that would have none to train on, the picture with the largest hash is in
    the training split. Within a split, images are in the order of class, key
    and content, and shards end where the content says so; so adding images
    changes only the shards they fall into.

    Writes shards `train-00000.npy` … (uint8 [N, H, W, C], N at most
    `data.shard_images`, W twice as much for pairs), `train-labels.npy` (int64 [N], unless unlabelled), the
    same for `test`, `manifest.json`, and `quarantine.csv` with all unusual
    files and what was done about them.

    Args:
        options: the `data` section.
        preprocess: how the work is spread.
        destination: the folder to write.
        scratch: where decoded parts are kept; a run that was interrupted goes on there.
        on_event: gets notices and the progress.

    Raises:
        UserError: what `survey` raises; too many files are left out, a split
            has fewer than two images, a class has none to train on, or the
            destination holds something else.
    """
    _check_destination(options, destination)
    with survey(options, preprocess, scratch, on_event=on_event) as found:
        lines = list(unusable(options, found))
        if lines:
            raise UserError("\n".join(lines))
        try:
            with replacing(destination) as folder:
                manifest = _write(options, found, folder)
        except OSError as error:
            raise UserError(
                f"{destination}: cannot be written ({error.strerror or error}); free or repair the disk and run again, "
                "what is decoded so far is kept"
            ) from None
        untested = [name for name in found.classes if manifest.test.per_class[name] == 0]
        if untested:
            shown = f"{shortened(untested)} ({len(untested)} of {len(found.classes)} classes)"
            on_event(Notice(f"no test image of {shown}: no metric compares with one"))
        if found.dropped:
            left_out = f"{found.dropped} of {found.files} files left out, listed in {destination / QUARANTINE}"
            on_event(Notice(f"{left_out}: {found.first_cases()}{found.duplicates_advice()}"))
    return manifest


def unusable(options: DataOptions, found: Survey) -> Iterator[str]:
    """Why too little of a source is left to train on.

    Yields:
        a line each where too many files are left out, a split has fewer than two
        images, or a class has none to train on.
    """
    if found.dropped > options.cleaning.max_dropped_share * found.files:
        yield (
            f"data.source={options.source}: {found.dropped} of {found.files} files are left out, expected at most the "
            f"share data.cleaning.max_dropped_share={options.cleaning.max_dropped_share}; first: {found.first_cases()}"
            f"{found.duplicates_advice()}"
        )
    images = found.images
    for split, other in zip(SPLITS, reversed(SPLITS), strict=True):
        count = sum(images[split].values())
        if count < FEWEST_IMAGES:
            share = "" if found.index.own_splits else f", or change data.test_share={options.test_share}"
            yield (
                f"data.source={options.source}: {count} of {count + sum(images[other].values())} images fall into the "
                f"{split} split, expected at least {FEWEST_IMAGES}; add images{share}"
            )
            break
    missing = [name for name in found.classes if images["train"][name] == 0]
    if missing and sum(images["train"].values()) >= FEWEST_IMAGES:
        counts = [
            f"{name} (of {found.index.labels[name]} files {images['test'][name]} held out, the others unusable)"
            for name in missing
        ]
        other = ", or set data.split=hash" if found.index.own_splits else ""
        yield (
            f"data.source={options.source}: no usable training image of {len(missing)} of {len(found.classes)} "
            f"classes: {shortened(counts)}; gan data check lists why; add images or remove these classes{other}"
        )


def _check_destination(options: DataOptions, destination: Path) -> None:
    target = destination.resolve()
    if "://" not in options.source:
        source = Path(options.source).resolve()
        if target.is_relative_to(source) or source.is_relative_to(target):
            raise UserError(f"data.source={options.source}: overlaps with {destination}; keep the images elsewhere")
    ours = (target / MANIFEST).is_file() or (target.is_dir() and not any(target.iterdir()))
    if target.exists() and not ours:
        raise UserError(f"{destination}: holds something other than packed data; move it away")


def _write(options: DataOptions, found: Survey, folder: Path) -> Manifest:
    source_digest = hashlib.sha256()
    for sha256, key, label in found.index.rows(f"SELECT sha256, key, label FROM image WHERE used ORDER BY {ORDER}"):
        source_digest.update(f"{sha256.hex()} {key} {label}\n".encode())
    train, test = (_write_split(options, found, folder, split) for split in SPLITS)
    manifest = Manifest(
        format_version=3,
        image=ImageSpec(size=options.image_size, channels=options.channels, classes=found.classes),
        paired=options.paired,
        fit=options.fit,
        resizer=options.resizer,
        cleaning=options.cleaning,
        versions=decoder_versions(),
        source_digest=source_digest.hexdigest(),
        files=found.files,
        dropped=found.dropped,
        cases=found.cases,
        train=train,
        test=test,
    )
    manifest.write(folder)
    with (folder / QUARANTINE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "kind", "action", "detail"))
        writer.writerows(found.findings())
    return manifest


def _write_split(options: DataOptions, found: Survey, folder: Path, split: str) -> SplitSummary:
    """Write shards and labels of one split, taking its rows out of the decoded parts."""
    query = (
        "SELECT sha256, label_id, identity, row FROM image JOIN part ON part.id = part WHERE used AND split = ? "
        f"ORDER BY {ORDER}"
    )
    images = found.images[split]
    shape = options.packed_shape
    parts = _Parts(found.parts)
    digest = hashlib.sha256(f"{sum(images.values())} {shape} {len(found.classes)}".encode())
    labels: list[NDArray[np.int64]] = []
    shards: list[int] = []
    for rows in grouped(found.index.rows(query, split), _content, options.shard_images):
        if len(shards) == MOST_SHARDS:
            raise UserError(
                f"data.shard_images={options.shard_images}: makes more than {MOST_SHARDS} shards of the {split} "
                "split; raise it"
            )
        with (folder / shard_name(split, len(shards))).open("wb") as file:
            write_header(file, "|u1", (len(rows), *shape))
            for at in range(0, len(rows), _CHUNK_IMAGES):
                chunk = parts.take(rows[at : at + _CHUNK_IMAGES])
                file.write(chunk.data)
                digest.update(chunk.data)
        shards.append(len(rows))
        if found.classes:
            labels.append(np.array([row[1] for row in rows], dtype="<i8"))
    if found.classes:
        together = np.concatenate(labels)
        with (folder / labels_name(split)).open("wb") as file:
            write_header(file, "<i8", together.shape)
            file.write(together.data)
        digest.update(together.data)
    mean, std = found.statistics(split)
    return SplitSummary(
        images=sum(shards),
        shards=tuple(shards),
        per_class={name: images[name] for name in found.classes},
        digest=digest.hexdigest(),
        pixel_mean=mean,
        pixel_std=std,
    )


def _content(row: tuple[Any, ...]) -> int:
    """Another part of the picture's hash than the one that splits."""
    return int.from_bytes(row[0][8:16], "big")


class _Parts:
    """Pixels of decoded parts, the last ones kept open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()

    def take(self, rows: list[tuple[Any, ...]]) -> NDArray[np.uint8]:
        """uint8 [N, H, W, C] of rows that end in a part's identity and the place in it."""
        return np.stack([self._of(identity)[row] for *_, identity, row in rows])

    def _of(self, identity: str) -> NDArray[np.uint8]:
        pixels = self._open.get(identity)
        if pixels is None:
            pixels = self._open[identity] = open_pixels(self._folder, identity).view(np.ndarray)
            if len(self._open) > _OPEN_PARTS:
                self._open.popitem(last=False)
        return pixels
