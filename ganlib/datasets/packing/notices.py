"""What people should know of a whole set before they train on it."""

from collections.abc import Iterator
from typing import get_args

from ganlib.config import DataOptions
from ganlib.datasets.files.reading import DAMAGE
from ganlib.datasets.items import Files, Source
from ganlib.datasets.packing.index import Index
from ganlib.datasets.sources.image_files import ImageFiles
from ganlib.datasets.sources.labels import read_label_file
from ganlib.errors import UserError

# But for 28, which one family makes.
_SIZES = [size for size in get_args(DataOptions.model_fields["image_size"].annotation) if size & (size - 1) == 0]
# Of the images: as many as make a difference to what is learned.
_MANY = 0.1
_MOST_TABLES = 5
# Where no value of all files of 16 bits needs more than these, they came from a sensor of fewer.
_MOST_SENSOR_BITS = 14


def notices(index: Index, source: Source, options: DataOptions) -> Iterator[str]:
    """A sentence each: labels that are not read, 16-bit files that are nearly black, many images that are enlarged."""
    if isinstance(source, ImageFiles) and options.labels == "auto":
        yield from _unread_labels(index, source.files)
    yield from _dark(index)
    yield from _enlarged(index, options)


def _unread_labels(index: Index, files: Files) -> Iterator[str]:
    """Tables beside the images that name labels of theirs; those in a compressed tar are not looked at."""
    if files.sequential:
        return
    tables = (
        "SELECT name FROM finding WHERE name LIKE '%.csv' OR name LIKE '%.json' ORDER BY length(name), name LIMIT ?"
    )
    for name in index.values(tables, _MOST_TABLES):
        try:
            with files.open(name) as file:
                table = read_label_file(files.location, name, file) or {}
        except (UserError, OSError, *DAMAGE):
            continue  # no table of labels
        named = index.count_named(table)
        if named:
            yield f"{name} is not read, and names labels of {named} images: set data.labels={name} to use them"


def _dark(index: Index) -> Iterator[str]:
    """No single picture tells, as a dark one may be meant so: the largest value of all files of 16 bits does."""
    count, peak = next(index.rows("SELECT COUNT(*), MAX(peak) FROM image WHERE tile = 0 AND peak IS NOT NULL"))
    if count and 0 < peak < 1 << _MOST_SENSOR_BITS:
        bits = max(8, peak.bit_length())
        yield (
            f"{count} files of 16 bits have no value above {peak}, as sensors of {bits} bits give them: they are read "
            f"as nearly black, at most {(peak + 128) // 257} of 255; multiply their values by {1 << (16 - bits)} and "
            "write them again"
        )


def _enlarged(index: Index, options: DataOptions) -> Iterator[str]:
    side = "MAX(width, height)" if options.fit == "pad" else "MIN(width, height)"
    smaller = f"SELECT COUNT(*) FROM image WHERE tile = 0 AND {side} < ?"
    total = index.number("SELECT COUNT(*) FROM image WHERE tile = 0")
    count = index.number(smaller, options.image_size)
    if count <= _MANY * total:
        return
    order = f"ORDER BY {side}, width, height LIMIT 1"
    width, height = next(index.rows(f"SELECT width, height FROM image WHERE tile = 0 {order}"))
    sizes = [size for size in _SIZES if size < options.image_size]
    fitting = [size for size in sizes if index.number(smaller, size) <= _MANY * total] or sizes[:1]
    remedies = [f"data.image_size={fitting[-1]}"] if fitting else []
    padded = index.number("SELECT COUNT(*) FROM image WHERE tile = 0 AND MAX(width, height) < ?", options.image_size)
    if padded <= _MANY * total:
        remedies.append("data.fit=pad")
    if remedies:
        yield (
            f"{count} of {total} images ({count / total:.0%}) are smaller than data.image_size={options.image_size} "
            f"and enlarged, the smallest {width} x {height}; consider {' or '.join(remedies)}"
        )
