"""All of a source read, decoded and judged; nothing is written but scratch files."""

import math
import sqlite3
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlib.config import DataCounts, DataOptions, PreprocessOptions
from ganlib.datasets.files.places import is_url
from ganlib.datasets.items import COMPANION, Source, printable
from ganlib.datasets.packing.executor import Executor
from ganlib.datasets.packing.executors import open_executor
from ganlib.datasets.packing.index import Index
from ganlib.datasets.packing.notices import notices
from ganlib.datasets.packing.parts import Work, after_death, decode_part, open_pixels, remove_parts
from ganlib.datasets.packing.whole_set import find_duplicates
from ganlib.datasets.sources.opening import most_images, open_source
from ganlib.errors import UserError
from ganlib.events import EventSink, Notice, Progress, ignore

SPLITS = ("train", "test")
_PROGRESS_EVERY_S = 0.5
_SHOWN = 3
_DISK_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)


@dataclass(frozen=True, eq=False)
class Survey:
    """What a source holds, once cleaned.

    `description` says what kind of source it is; `files` counts all that was
    met, but for files beside the images that are none; `near_across` is how many
    test pictures have a near duplicate among the training pictures. Everything
    else is asked of the index, so that it takes no memory.
    """

    description: str
    files: int
    classes: tuple[str, ...]
    index: Index
    parts: Path
    channels: int
    near_across: int

    @property
    def dropped(self) -> int:
        """Files left out."""
        return self.index.number("SELECT COUNT(*) FROM finding WHERE action = 'drop'")

    @property
    def images(self) -> dict[str, dict[str, int]]:
        """Images by split and class, both in order; one class '' where there are no labels."""
        query = (
            "SELECT split, label.name, COUNT(*) FROM image LEFT JOIN label ON label.id = label_id WHERE used "
            "GROUP BY split, label_id"
        )
        counts = {split: dict.fromkeys(self.classes or ("",), 0) for split in SPLITS}
        for split, label, count in self.index.rows(query):
            counts[split][label or ""] = count
        return counts

    @property
    def counts(self) -> DataCounts:
        """What parameters can be held against."""
        train, test = (sum(self.images[split].values()) for split in SPLITS)
        return DataCounts(train=train, test=test, classes=len(self.classes))

    @property
    def cases(self) -> dict[str, dict[str, int]]:
        """How often each kind of case led to each action."""
        counts: dict[str, dict[str, int]] = {}
        query = "SELECT kind, action, COUNT(*) FROM finding GROUP BY kind, action ORDER BY kind, action"
        for kind, action, count in self.index.rows(query):
            counts.setdefault(kind, {})[action] = count
        return counts

    @property
    def overlap(self) -> str | None:
        """What near duplicates on both sides of the split spoil, in one line; None where there are none."""
        if self.near_across == 0:
            return None
        pictures = self.index.number("SELECT COUNT(*) FROM image WHERE used AND tile = 0 AND split = 'test'")
        return (
            f"{self.near_across} of {pictures} held-out pictures have a near duplicate in the training split; the more "
            "there are, the less do held-out images tell of overfitting and of copies"
        )

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """(width, height, count) of the files as they are, the most common first."""
        query = "SELECT width, height, COUNT(*) FROM image WHERE tile = 0 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        return list(self.index.rows(query))

    @property
    def modes(self) -> dict[str, int]:
        """How many files have each mode, the most common first."""
        query = "SELECT mode, COUNT(*) FROM image WHERE tile = 0 GROUP BY 1 ORDER BY 2 DESC, 1"
        return dict(self.index.rows(query))

    def statistics(self, split: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over a split, of pixels in [0, 255]."""
        sums = ", ".join(f"SUM(sum{channel}), SUM(square{channel})" for channel in range(self.channels))
        query = f"SELECT COUNT(*), {sums} FROM image WHERE used AND split = ?"
        count, *totals = next(self.index.rows(query, split))
        pixels = count * self._pixels_each()
        moments = [_moments(pixels, totals[2 * c], totals[2 * c + 1]) for c in range(self.channels)]
        return tuple(mean for mean, _ in moments), tuple(std for _, std in moments)

    def _pixels_each(self) -> int:
        identity = self.index.values("SELECT identity FROM part JOIN image ON part.id = part LIMIT 1")[0]
        shape = open_pixels(self.parts, identity).shape
        return int(shape[1] ** 2)

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """Of each channel over the training split, in [0, 255]."""
        return self.statistics("train")[0]

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """Of each channel over the training split, in [0, 255]."""
        return self.statistics("train")[1]

    def findings(self) -> Iterator[tuple[str, str, str, str]]:
        """(name, kind, action, detail) of every case, by name."""
        query = "SELECT name, kind, action, detail FROM finding ORDER BY name, kind, detail, action"
        yield from self.index.rows(query)

    def pictures(self, label: str | None, count: int) -> NDArray[np.uint8]:
        """Up to `count` images of a class (None: of all), uint8 [N, H, W, C], by their hashes, so any of them."""
        condition, parameters = ("", ()) if label is None else ("AND label = ?", (label,))
        query = (
            f"SELECT identity, row FROM image JOIN part ON part.id = part WHERE used {condition} "
            "ORDER BY sha256, name, tile LIMIT ?"
        )
        places = list(self.index.rows(query, *parameters, count))
        if not places:
            return open_pixels(self.parts, self.index.values("SELECT identity FROM part")[0])[:0]
        return np.stack([open_pixels(self.parts, identity)[row] for identity, row in places])

    def duplicates_advice(self) -> str:
        """What to do instead where images are there several times to weigh more; empty where none is."""
        count = self.index.number("SELECT COUNT(*) FROM finding WHERE action = 'drop' AND kind = 'exact_duplicate'")
        if not count:
            return ""
        evenly = "train.class_balanced=true shows all classes equally often; " if self.classes else ""
        return (
            f"; {count} of these are exact duplicates: {evenly}data.cleaning.policy.exact_duplicate=keep lets them "
            "weigh more"
        )

    def first_cases(self, action: str = "drop") -> str:
        """The first few cases in one line."""
        query = "SELECT name, detail FROM finding WHERE action = ? ORDER BY name LIMIT ?"
        return "; ".join(f"{name}: {detail}" for name, detail in self.index.rows(query, action, _SHOWN))


@contextmanager
def survey(
    options: DataOptions, preprocess: PreprocessOptions, scratch: Path, *, on_event: EventSink = ignore
) -> Iterator[Survey]:
    """Read, decode and judge all images of `data.source`.

    Args:
        options: the `data` section.
        preprocess: where parts are decoded, and whether they are kept afterwards.
        scratch: a folder of this machine (for Dask: of the cluster) that is
            kept between runs, for one process at a time; decoded parts found
            there are used again.
        on_event: gets notices and the progress.

    Raises:
        UserError: the source is unusable, a policy says `fail`, the disk is
            full, or some images have a label and others none.
    """
    folder = scratch / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    with _full_disk_told(scratch), Index(scratch / "index.db", options) as index:
        source = open_source(options, on_event)
        with open_executor(preprocess) as executor:
            _decode_all(source, options, executor, folder, index, on_event)
        _check_some(source, options, index)
        _tell_companions(index, on_event)
        index.settle()
        _tell_odd_classes(index.classes, on_event)
        for text in notices(index, source, options):
            on_event(Notice(text))
        near_across = find_duplicates(index, options)
        yield Survey(source.description, index.files, index.classes, index, folder, options.channels, near_across)
        used = set(index.values("SELECT identity FROM part")) if preprocess.keep_parts else set()
        remove_parts(folder, keep=used.__contains__)


@contextmanager
def _full_disk_told(scratch: Path) -> Iterator[None]:
    """What SQLite says where the index, or a table that it sorts by, finds no room; also in the block of `survey`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _DISK_ERRORS:
            raise
        raise UserError(
            f"{scratch}: cannot be written ({error}); free or repair the disk and run again, what is decoded so far is "
            "kept"
        ) from None


def _decode_all(
    source: Source, options: DataOptions, executor: Executor, folder: Path, index: Index, on_event: EventSink
) -> None:
    on_event(Notice(f"{options.source}: {source.description}"))
    listed = None if is_url(options.source) else most_images(options)
    total = None if listed is None else listed[0]
    started = time.monotonic()
    first: tuple[float, int] | None = None
    tasks = (Work(part, options, folder) for part in source.parts())
    for decoded in executor.map(decode_part, tasks, after_death=after_death):
        index.add(decoded)
        now = time.monotonic()
        if first is None:  # until then processes have started, which says nothing of the rate
            first, told = (now, index.files), now
        elif now - told >= _PROGRESS_EVERY_S:
            told = now
            on_event(Progress(index.files, total, (index.files - first[1]) / (now - first[0])))
    on_event(Progress(index.files, index.files, index.files / max(time.monotonic() - started, 1e-9)))


def _check_some(source: Source, options: DataOptions, index: Index) -> None:
    images = index.number("SELECT COUNT(*) FROM image")
    if images == 0:
        # First those that are lost, then those beside them.
        query = "SELECT name, detail FROM finding ORDER BY action, name LIMIT 1"
        first = next(index.rows(query), None)
        companions = index.number("SELECT COUNT(*) FROM finding WHERE kind = ?", COMPANION)
        shown = "" if first is None else f" (first: {first[0]}: {first[1]})"
        raise UserError(
            f"data.source={options.source}: found {index.files + companions} files, none of them a usable "
            f"image{shown}; expected image files such as .png or .jpg"
        )
    unlabelled = index.number("SELECT COUNT(*) FROM image WHERE label IS NULL")
    if 0 < unlabelled < images:
        raise UserError(
            f"data.source={options.source}: {unlabelled} of {images} images have no label; expected all or none"
        )


def _tell_odd_classes(classes: tuple[str, ...], on_event: EventSink) -> None:
    if len(classes) == 1:
        only = printable(classes[0])
        on_event(Notice(f"all images are in the one class {only}; if that is no class, set data.labels to none"))
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            shown = " and ".join(printable(repr(name)) for name in names)
            on_event(Notice(f"the classes {shown} are taken as different ones; if they are not, rename one"))


def _tell_companions(index: Index, on_event: EventSink) -> None:
    count = index.number("SELECT COUNT(*) FROM finding WHERE kind = ?", COMPANION)
    if count:
        name, detail = next(
            index.rows("SELECT name, detail FROM finding WHERE kind = ? ORDER BY name LIMIT 1", COMPANION)
        )
        on_event(Notice(f"{count} more files are no images and not counted, such as {name} ({detail})"))


def _moments(count: int, first: int, second: int) -> tuple[float, float]:
    """Mean and standard deviation from exact sums of values and squares."""
    return first / count, math.sqrt((count * second - first * first) / count**2)
