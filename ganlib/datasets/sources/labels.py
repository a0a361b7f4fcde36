"""Labels that a file of the source gives: a CSV, or a JSON file as StyleGAN's tools write it."""

import csv
import io
import json
from collections.abc import Mapping
from typing import IO

from ganlib.datasets.files.names import tidy
from ganlib.datasets.files.places import wrong
from ganlib.datasets.files.reading import DAMAGE
from ganlib.datasets.items import printable

DATASET_JSON = "dataset.json"
_NAME_COLUMNS = ("name", "file_name", "filename", "path", "image")
_LABEL_COLUMNS = ("label", "class")
# Some three million lines.
_MOST_BYTES = 256 << 20


def read_label_file(location: str, name: str, file: IO[bytes]) -> Mapping[str, str] | None:
    """The class of each image by its path inside the source; None where a JSON file says `"labels": null`.

    A CSV has a header with a column `name` (or `file_name`, `filename`, `path`,
    `image`) and one called `label` (or `class`). A JSON file is an object whose
    `labels` are pairs of a path and a whole number or a text.

    Raises:
        UserError: it is none of these, or lists a path twice.
    """
    where = printable(name)
    try:
        content = file.read(_MOST_BYTES + 1)
    except DAMAGE as error:
        raise wrong(location, f"{where}: damaged in the archive ({error}); download or pack it again") from None
    if len(content) > _MOST_BYTES:
        raise wrong(location, f"{where}: more than {_MOST_BYTES} bytes; split the source")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(location, f"{where}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    pairs = _from_json(location, where, text) if name.endswith(".json") else _from_csv(location, where, text)
    if pairs is None:
        return None
    table: dict[str, str] = {}
    for path, label in pairs:
        path = tidy(path)
        if path in table:
            raise wrong(location, f"{where}: lists {path} twice; expected one label an image")
        table[path] = label
    return table


def _from_json(location: str, where: str, text: str) -> list[tuple[str, str]] | None:
    expected = 'expected {"labels": [["folder/image.png", 0], …]}'
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise wrong(location, f"{where}: not valid JSON ({error}); {expected}") from None
    match content:
        case {"labels": None}:
            return None
        case {"labels": [*entries]}:
            pass
        case _:
            raise wrong(location, f"{where}: found no list called labels; {expected}")
    pairs = []
    for index, entry in enumerate(entries):
        match entry:
            case [str(path), bool(label)]:
                raise wrong(location, f"{where}: labels[{index}] of {path} is {json.dumps(label)}; {expected}")
            case [str(path), int(label) | str(label)] if label != "":
                pairs.append((path, str(label)))
            case _:
                shown = json.dumps(entry)[:80]
                raise wrong(location, f"{where}: labels[{index}] is {shown}; {expected}")
    return pairs


def _from_csv(location: str, where: str, text: str) -> list[tuple[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        name_at, label_at = _column(header, _NAME_COLUMNS), _column(header, _LABEL_COLUMNS)
        if name_at is None or label_at is None:
            raise wrong(
                location,
                f"{where}: its first line is {','.join(header)[:80]!r}; expected the columns {_NAME_COLUMNS[0]} (or "
                f"{', '.join(_NAME_COLUMNS[1:])}) and {' or '.join(_LABEL_COLUMNS)}",
            )
        pairs = []
        for row in reader:
            if not row:
                continue
            if len(row) <= max(name_at, label_at) or not row[name_at].strip() or not row[label_at].strip():
                raise wrong(location, f"{where}: line {reader.line_num} has no name or no label; expected both")
            pairs.append((row[name_at].strip(), row[label_at].strip()))
    except csv.Error as error:
        raise wrong(location, f"{where}: line {reader.line_num} is no CSV ({error}); mend it") from None
    return pairs


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    """Where the first of these names is."""
    return next((header.index(name) for name in names if name in header), None)
