"""Labels that a file of the source gives: a CSV, or a JSON file as StyleGAN's tools write it."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import IO, NamedTuple

from ganlib.datasets.files.names import composed, has_control, tidy
from ganlib.datasets.files.places import wrong
from ganlib.datasets.files.reading import DAMAGE
from ganlib.datasets.items import printable

DATASET_JSON = "dataset.json"
_NAME_COLUMNS = ("name", "file_name", "filename", "path", "image")
_LABEL_COLUMNS = ("label", "class")
# Some three million lines.
MOST_BYTES = 256 << 20


class LabelFile(NamedTuple):
    """A label file of a source: its path, and the class of each image by its path, both composed and in the source.

    `table` is None where a JSON file says `"labels": null`.
    """

    name: str
    table: Mapping[str, str] | None


def check_label_file(location: str, images: Iterable[str], labels: LabelFile) -> None:
    """See that a label file lists all images that are there and no others.

    Raises:
        UserError: it does not.
    """
    if labels.table is None:
        return
    listed = set(labels.table)
    for image in map(composed, images):
        if image not in labels.table:
            raise wrong(
                location,
                f"{labels.name} has no label for {image}; add a line for it, remove the image, or set data.labels to "
                "auto or none",
            )
        listed.discard(image)
    if listed:
        raise wrong(
            location,
            f"{labels.name} lists {len(listed)} images that are not there, such as {min(listed)}; expected paths "
            "inside the source; bring them or remove their lines",
        )


def read_label_file(location: str, name: str, file: IO[bytes]) -> Mapping[str, str] | None:
    """The class of each image by the path that is listed, both composed; None where JSON says `"labels": null`.

    A CSV has a header with a column `name` (or `file_name`, `filename`, `path`,
    `image`) and one called `label` (or `class`). A JSON file is an object whose
    `labels` are pairs of a path and a whole number or a text.

    Raises:
        UserError: it is none of these, or lists a path twice.
    """
    where = printable(name)
    try:
        content = file.read(MOST_BYTES + 1)
    except DAMAGE as error:
        raise wrong(location, f"{where}: damaged in the archive ({error}); download or pack it again") from None
    if len(content) > MOST_BYTES:
        raise wrong(location, f"{where}: more than {MOST_BYTES} bytes; split the source")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(location, f"{where}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    pairs = _from_json(location, where, text) if name.endswith(".json") else _from_csv(location, where, text)
    if pairs is None:
        return None
    table: dict[str, str] = {}
    for path, label in pairs:
        path = composed(tidy(path.replace("\\", "/")))
        if path in table:
            raise wrong(location, f"{where}: lists {path} twice; expected one label an image")
        if has_control(label):
            raise wrong(location, f"{where}: the label {label} of {path} has a control character; expected text")
        table[path] = composed(label)
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
            case [str(path), float(label)] if label.is_integer():
                pairs.append((path, str(int(label))))
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
