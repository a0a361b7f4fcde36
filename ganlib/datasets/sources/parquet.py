"""Parquet tables with a column of image files, as Hugging Face data sets are stored.

Images are a struct of `bytes` and `path`, or binary values. Labels are texts,
or numbers whose names stand in the schema's metadata under `huggingface`
(`ClassLabel` of the datasets library).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

from ganlib.config import DataOptions
from ganlib.datasets.files.places import wrong
from ganlib.datasets.items import FileEntry, Files, Item, Part, Refusal
from ganlib.datasets.sources.rows import (
    PART_ROWS,
    Numbering,
    Numbers,
    class_names,
    damage_told,
    digest,
    facts,
    inline_parts,
    listed,
    named,
    refuse_label_file,
    refuse_sequential,
)
from ganlib.datasets.sources.splits import role_of_file
from ganlib.events import EventSink, Notice, ignore

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
# Groups up to here are read by one worker each. To reach rows inside a larger one all before them are decoded, so
# that such a group is read once, on the way, and its images are handed on.
_GROUP_ROWS = 2 * PART_ROWS
_MAX_GROUP_BYTES = 2 << 30
_BATCH_ROWS = 64
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Where images and labels are; `names` are of the classes where labels are numbers with names."""

    image: str
    label: str | None
    names: tuple[str, ...] | None

    def read(self) -> list[str]:
        """The columns to be read."""
        return [self.image] if self.label is None else [self.image, self.label]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Consecutive row groups of a table, seldom more than one; `first_row` counts from the table's beginning."""

    entry: FileEntry
    first: int
    stop: int
    first_row: int
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class RowGroupsPart:
    """The images of a row group, or of some small ones."""

    files: Files
    groups: _Groups
    columns: Columns
    numbers: Numbers
    limit_bytes: int

    @property
    def identity(self) -> str:
        """See `Part`."""
        groups = self.groups
        where = (groups.first, groups.stop, groups.first_row, groups.count)
        return digest("parquet", facts([groups.entry]), where, astuple(self.columns), astuple(self.numbers))

    def items(self) -> Iterator[Item | Refusal]:
        """See `Part`."""
        with _opened(self.files, self.groups.entry.name) as table:
            yield from _group_items(self.files, table, self.groups, self.columns, self.numbers, self.limit_bytes)


class ParquetSource:
    """One `.parquet` file or several, such as `train-00000-of-00002.parquet`; the names tell the splits."""

    def __init__(self, files: Files, options: DataOptions, on_event: EventSink = ignore) -> None:
        self._files = files
        self._options = options
        self._on_event = on_event

    @property
    def description(self) -> str:
        """See `Source`."""
        return "Parquet tables"

    def parts(self) -> Iterator[Part]:
        """See `Source`.

        Raises:
            UserError: there is no column of images, tables differ, labels are missing or a file is damaged.
        """
        files, location = self._files, self._files.location
        refuse_label_file(files, self._options, self.description)
        refuse_sequential(files, self.description)
        entries = listed(files, lambda name: name.lower().endswith(".parquet"))
        if not entries:
            raise wrong(location, "found no .parquet files", "expected at least one")
        roles = (role_of_file(entry.name) for entry in entries)
        numbering = Numbering(location, roles, self._options, self._on_event)
        columns: Columns | None = None
        for entry in entries:
            if not numbering.uses(role_of_file(entry.name)):
                continue
            with _opened(files, entry.name) as table:
                found = _columns(location, entry.name, table.schema_arrow, self._options)
                if columns not in (None, found):
                    raise wrong(
                        location,
                        f"{entry.name} has other columns or class names than {entries[0].name}",
                        "expected equal ones",
                    )
                if columns is None and "split" in table.schema_arrow.names:
                    text = "does not read the column split; the names of files or folders tell the parts"
                    self._on_event(Notice(f"{location}: {text}, such as train-0.parquet"))
                columns = found
                yield from self._table_parts(entry, table, columns, numbering)

    def _table_parts(
        self, entry: FileEntry, table: "pq.ParquetFile", columns: Columns, numbering: Numbering
    ) -> Iterator[Part]:
        limit_bytes = self._options.limits.max_file_bytes
        for groups in _runs_of_groups(self._files.location, entry, table):
            numbers = numbering.take(role_of_file(entry.name), groups.count)
            if groups.count <= _GROUP_ROWS:
                yield RowGroupsPart(self._files, groups, columns, numbers, limit_bytes)
            else:
                items = _group_items(self._files, table, groups, columns, numbers, limit_bytes)
                yield from inline_parts(items, [entry])


@contextmanager
def _opened(files: Files, name: str) -> "Iterator[pq.ParquetFile]":
    """A table; what goes wrong while it is used is told."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with damage_told(files.location, name):
        try:
            with (
                files.open(name) as stream,
                pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False) as table,
            ):
                yield table
        except (pa.ArrowException, OSError) as error:
            # Arrow also calls what is damaged an error of input and output, but one without a number.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(" ".join(str(error).split())) from None


def _runs_of_groups(location: str, entry: FileEntry, table: "pq.ParquetFile") -> Iterator[_Groups]:
    """All row groups, small ones together, as each part reads the footer again."""
    run = _Groups(entry, 0, 0, 0, 0)
    for index in range(table.num_row_groups):
        described = table.metadata.row_group(index)
        rows, size_bytes = described.num_rows, described.total_byte_size
        if rows < 0 or size_bytes > _MAX_GROUP_BYTES:
            raise wrong(
                location,
                f"row group {index} of {entry.name} has {rows} rows of {size_bytes} bytes",
                f"expected at most {_MAX_GROUP_BYTES} bytes; write it with smaller row groups",
            )
        if run.count and run.count + rows > PART_ROWS:
            yield run
            run = _Groups(entry, index, index, run.first_row + run.count, 0)
        run = replace(run, stop=index + 1, count=run.count + rows)
    if run.count:
        yield run


def _columns(location: str, name: str, schema: "pa.Schema", options: DataOptions) -> Columns:

    kinds = {field.name: field.type for field in schema}
    images = [column for column, kind in kinds.items() if _is_image(kind)]
    chosen = [column for column in images if column in _IMAGE_COLUMNS] or images
    if len(chosen) != 1:
        raise wrong(
            location,
            f"{name} has {len(images)} columns of images among {', '.join(kinds)}",
            "expected one called image or img, of binary values or of structs of bytes and path",
        )
    labels = [column for column in _LABEL_COLUMNS if column in kinds]
    label = labels[0] if labels and options.labels == "auto" else None
    if label is not None and not _is_label(kinds[label]):
        raise wrong(
            location,
            f"column {label} of {name} has the type {kinds[label]}",
            "expected whole numbers or texts, or set data.labels=none",
        )
    names = None if label is None else _class_label(location, name, schema, label)
    return Columns(chosen[0], label, names)


def _is_image(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(
            field.name == "bytes" and _is_image(field.type) for field in kind if not pa.types.is_struct(field.type)
        )
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_label(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(numbers or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _class_label(location: str, name: str, schema: "pa.Schema", label: str) -> tuple[str, ...] | None:
    """The names of the classes in what Hugging Face's datasets library adds to a schema."""
    content = (schema.metadata or {}).get(b"huggingface")
    if content is None:
        return None
    try:
        names = json.loads(content)["info"]["features"][label].get("names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise wrong(location, f"the metadata `huggingface` of {name} is damaged", "write the table again") from None
    return None if names is None else class_names(location, f"the metadata of {name}", names)


def _group_items(
    files: Files, table: "pq.ParquetFile", groups: _Groups, columns: Columns, numbers: Numbers, limit_bytes: int
) -> Iterator[Item | Refusal]:
    """The images of row groups, a few at a time."""
    index = 0
    batches = table.iter_batches(
        _BATCH_ROWS, row_groups=list(range(groups.first, groups.stop)), columns=columns.read(), use_threads=False
    )
    for batch in batches:
        contents = batch.column(columns.image)
        labels: Sequence[object] | None = None if columns.label is None else batch.column(columns.label).to_pylist()
        for at in range(batch.num_rows):
            name = f"{groups.entry.name}[{groups.first_row + index}]"
            content = _content(files.location, name, contents[at].as_py())
            label = None if labels is None else named(files.location, name, labels[at], columns.names)
            yield _item(name, content, label, numbers, index, limit_bytes)
            index += 1
    if index != groups.count:
        raise ValueError(f"it has {index} rows from row {groups.first_row} on instead of {groups.count}")


def _content(location: str, name: str, value: bytes | dict[str, object] | None) -> bytes | None:
    """The bytes of an image; None where there is no image."""
    if not isinstance(value, dict):
        return value
    content = value["bytes"]
    if content is None and value.get("path"):
        raise wrong(
            location,
            f"{name} has the path of an image but no bytes",
            "expected images inside the table; write it with embed_external_files=True",
        )
    assert content is None or isinstance(content, bytes)
    return content


def _item(
    name: str, content: bytes | None, label: str | None, numbers: Numbers, index: int, limit_bytes: int
) -> Item | Refusal:
    if not content:
        return Refusal(name, "empty", "no bytes in the image column", label)
    if len(content) > limit_bytes:
        detail = f"{len(content)} bytes, more than data.limits.max_file_bytes={limit_bytes}"
        return Refusal(name, "too_large", detail, label)
    return Item(name, numbers.key(index), label, numbers.split, content)
