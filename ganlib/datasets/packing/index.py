"""What is known of every image, on disk: the memory holds none of it, however many there are."""

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from ganlib.config import DataOptions
from ganlib.datasets.packing.naming import natural_key
from ganlib.datasets.packing.parts import Case, DecodedImage, DecodedPart

_TABLES = """
CREATE TABLE part (id INTEGER PRIMARY KEY, identity TEXT);
CREATE TABLE label (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE image (
    id INTEGER PRIMARY KEY, part INTEGER, row INTEGER, name TEXT, key TEXT, label TEXT, given_split TEXT, tile INTEGER,
    sha256 BLOB, difference_hash BLOB, mode TEXT, width INTEGER, height INTEGER, peak INTEGER,
    sum0 INTEGER, sum1 INTEGER, sum2 INTEGER, sum3 INTEGER,
    square0 INTEGER, square1 INTEGER, square2 INTEGER, square3 INTEGER,
    split TEXT, label_id INTEGER, used INTEGER DEFAULT 1
);
CREATE TABLE finding (name TEXT, kind TEXT, action TEXT, detail TEXT);
"""
_COLUMNS = (
    "part, row, name, key, label, given_split, tile, sha256, difference_hash, mode, width, height, peak, "
    "sum0, sum1, sum2, sum3, square0, square1, square2, square3"
)
_INSERT = f"INSERT INTO image ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS.split(', ')))})"
_MOST_CHANNELS = 4
# Train before test, so that what is in both is left out of the test split.
ORDER = "split DESC, label_id, key, sha256, name, tile"


class Index:
    """A scratch database of images and findings, built anew in each run.

    `labels` counts the files of each class, used or not. `own_splits` says,
    once settled, that the source has a train and a test part and these are the
    splits.
    """

    def __init__(self, path: Path, options: DataOptions) -> None:
        path.unlink(missing_ok=True)
        self.files = 0
        self.labels: Counter[str] = Counter()
        self.own_splits = False
        self._path = path
        self._options = options
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLES} BEGIN;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()
        self._path.unlink(missing_ok=True)

    def add(self, part: DecodedPart) -> None:
        """Take in a decoded part."""
        self.files += part.files
        self.labels.update(part.labels)
        part_id = self.database.execute("INSERT INTO part (identity) VALUES (?)", (part.identity,)).lastrowid
        assert part_id is not None
        self.database.executemany(_INSERT, (_record(part_id, row, image) for row, image in enumerate(part.images)))
        self.add_cases(part.cases)

    def add_cases(self, cases: Sequence[Case]) -> None:
        """Take in rows of the quarantine list."""
        self.database.executemany("INSERT INTO finding VALUES (?, ?, ?, ?)", cases)

    def settle(self) -> None:
        """Give every image its split and its label's number, now that all are known."""
        names = sorted(self.labels, key=natural_key)
        self.database.executemany("INSERT INTO label VALUES (?, ?)", enumerate(names))
        # Held out by content: the first 8 bytes of the hash, as a number in [0, 1), fall below the share.
        limit = math.ceil(self._options.test_share * 2**64).to_bytes(8, "big")
        self.own_splits = set(self.values("SELECT DISTINCT given_split FROM image")) == {"train", "test"}
        by_hash = f"CASE WHEN sha256 < x'{limit.hex()}' THEN 'test' ELSE 'train' END"
        split = "given_split" if self.own_splits else by_hash
        self.database.execute(
            f"UPDATE image SET split = {split}, label_id = (SELECT id FROM label WHERE label.name = image.label)"
        )
        if not self.own_splits:
            # Of a class that would have none to train on, the picture with the largest hash.
            lone = (
                "SELECT MAX(sha256) FROM image WHERE label_id IS NOT NULL GROUP BY label_id "
                "HAVING SUM(split = 'train') = 0"
            )
            self.database.execute(f"UPDATE image SET split = 'train' WHERE sha256 IN ({lone})")

    def leave_out(self, image: int, case: Case) -> None:
        """Note a case about a picture, given its first tile, and, where the action is `drop`, use it no more."""
        self.add_cases([case])
        if case.action == "drop":
            # The tiles of a picture follow each other.
            following = "(SELECT id FROM image WHERE id > ? AND tile = 0 ORDER BY id LIMIT 1)"
            self.database.execute(
                f"UPDATE image SET used = 0 WHERE id >= ? AND id < ifnull({following}, 1 << 62)", (image, image)
            )

    def values(self, query: str, *parameters: object) -> list[str]:
        """The first column of a query."""
        return [row[0] for row in self.database.execute(query, parameters)]

    def rows(self, query: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, as they come."""
        yield from self.database.execute(query, parameters)

    def number(self, query: str, *parameters: object) -> int:
        """The one number that a query gives."""
        return int(self.database.execute(query, parameters).fetchone()[0])

    def count_named(self, names: Iterable[str]) -> int:
        """How many pictures have one of these names."""
        self.database.execute("CREATE TEMP TABLE wanted (name TEXT)")
        self.database.executemany("INSERT INTO wanted VALUES (?)", ((name,) for name in names))
        count = self.number("SELECT COUNT(*) FROM image WHERE tile = 0 AND name IN (SELECT name FROM wanted)")
        self.database.execute("DROP TABLE wanted")
        return count

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self.values("SELECT name FROM label ORDER BY id"))


def _record(part: int, row: int, image: DecodedImage) -> tuple[object, ...]:
    """The values of `_COLUMNS`; channels that the images do not have are 0."""
    absent = (0,) * (_MOST_CHANNELS - len(image.sums))
    return (
        part,
        row,
        image.name,
        image.key,
        image.label,
        image.split,
        image.tile,
        image.sha256,
        image.difference_hash,
        image.mode,
        image.width,
        image.height,
        image.peak,
        *image.sums,
        *absent,
        *image.square_sums,
        *absent,
    )
