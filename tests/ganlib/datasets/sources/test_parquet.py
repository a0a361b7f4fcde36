import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ganlib.datasets.files import open_files
from ganlib.datasets.items import Item, Refusal
from ganlib.datasets.sources.parquet import ParquetSource
from ganlib.errors import UserError
from ganlib.events import Event, Notice
from tests.ganlib.datasets.array_files import all_items, as_pixels, image_table, png, usable, with_names
from tests.ganlib.datasets.image_files import data_options, noise

IMAGES = noise(0, 5, 6, 7)
TABLE = image_table(IMAGES, [0, 1, 2, 1, 0])
CONTENT = [png(image) for image in IMAGES]


def source(location: Path, **changes: Any) -> ParquetSource:
    return ParquetSource(open_files(str(location), 1000), data_options(location, **changes))


def written(folder: Path, table: pa.Table, name: str = "a.parquet", **how: Any) -> ParquetSource:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / name, **how)
    return source(folder)


def test_names_of_classes_stand_in_the_metadata(tmp_path: Path) -> None:
    items = usable(written(tmp_path, with_names(TABLE, ["cat", "dog", "owl"])))
    assert [item.label for item in items] == ["cat", "dog", "owl", "dog", "cat"]
    assert [item.name for item in items] == [f"a.parquet[{row}]" for row in range(5)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_labels_may_be_texts(kind: pa.DataType, tmp_path: Path) -> None:
    table = TABLE.set_column(1, "label", pa.array(["a", "b", "a", "b", "c"]).cast(kind))
    assert [item.label for item in usable(written(tmp_path, table))] == ["a", "b", "a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"img": CONTENT, "fine_label": [3] * 5, "coarse_label": [1] * 5}, "3"),
        ({"pixels": pa.array(CONTENT, pa.large_binary()), "labels": [4] * 5}, "4"),
        ({"image": CONTENT, "label": [3.0] * 5}, "3"),
        ({"image": CONTENT, "thumbnail": CONTENT, "other": ["x"] * 5}, None),
    ],
)
def test_columns_are_found(columns: dict[str, Any], label: str | None, tmp_path: Path) -> None:
    items = usable(written(tmp_path, pa.table(columns)))
    assert {item.label for item in items} == {label}
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), IMAGES)


@pytest.mark.parametrize("group_rows", [1, 100, 300, 1000])
def test_parts_are_of_row_groups_whatever_their_size(group_rows: int, tmp_path: Path) -> None:
    contents = [bytes([row % 251, row // 251]) for row in range(1100)]
    table = pa.table({"image": contents, "label": [row % 3 for row in range(1100)]})
    made = written(tmp_path, table, row_group_size=group_rows)
    parts = [pickle.loads(pickle.dumps(part)) for part in made.parts()]
    sizes = [len(list(part.items())) for part in parts]
    assert max(sizes) <= 300
    assert sum(sizes) == 1100
    assert len({part.identity for part in parts}) == len(parts)
    # In any order, as workers read them.
    found = {item.key: item for part in reversed(parts) for item in part.items() if isinstance(item, Item)}
    assert [found[key].content for key in sorted(found)] == contents
    assert [found[key].label for key in sorted(found)] == [str(row % 3) for row in range(1100)]


def test_folders_may_name_the_split(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        made = written(tmp_path, TABLE, f"default/{split}/0000.parquet")
    assert {(item.split, item.key) for item in usable(made)} == {
        (split, f"{row:09d}") for split in ("train", "test") for row in range(5)
    }
    with pytest.raises(UserError, match="found images with and without a split in the names"):
        all_items(written(tmp_path, TABLE, "more.parquet"))


def test_of_three_parts_validation_is_not_used_unless_the_hash_decides(tmp_path: Path) -> None:
    for name in ("train", "cifar_Validation", "dev", "test"):
        written(tmp_path, TABLE, f"{name}-00000-of-00001.parquet")
    events: list[Event] = []
    used = usable(ParquetSource(open_files(str(tmp_path), 99), data_options(tmp_path), events.append))
    assert Counter((item.split, item.name.partition("-")[0]) for item in used) == {
        ("train", "train"): 5,
        ("test", "test"): 5,
    }
    (event,) = events
    assert isinstance(event, Notice)
    assert "holds out test, as they are called; does not use validation (data.split=hash would" in event.text
    assert Counter(item.split for item in usable(source(tmp_path, split="hash"))) == {None: 20}
    for path in tmp_path.glob("train*"):
        path.unlink()
    with pytest.raises(UserError, match="found images in test and validation; expected a part called train"):
        all_items(source(tmp_path))


def test_a_column_of_splits_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path, TABLE.append_column("split", [["train"] * 4 + ["test"]]), f"{name}.parquet")
    events: list[Event] = []
    assert len(usable(ParquetSource(open_files(str(tmp_path), 99), data_options(tmp_path), events.append))) == 10
    assert [type(event) for event in events] == [Notice]
    assert "does not read the column split; the names of files" in str(events[0])


def test_one_split_alone_is_none(tmp_path: Path) -> None:
    items = usable(written(tmp_path, TABLE, "train-00000-of-00001.parquet"))
    assert {(item.split, item.key) for item in items} == {(None, f"{row:09d}") for row in range(5)}


def test_images_that_are_missing_or_too_large_are_refused_one_by_one(tmp_path: Path) -> None:
    values = [None, {"bytes": None, "path": None}, {"bytes": b"", "path": "a"}, {"bytes": b"x" * 50, "path": "b"}]
    table = pa.table({"image": pa.array(values, TABLE.schema.field("image").type)})
    pq.write_table(table, tmp_path / "a.parquet")
    found = all_items(source(tmp_path, limits={"max_file_bytes": 49}))
    assert all(isinstance(item, Refusal) for item in found)
    assert [(item.name, item.kind) for item in found if isinstance(item, Refusal)] == [
        *((f"a.parquet[{row}]", "empty") for row in range(3)),
        ("a.parquet[3]", "too_large"),
    ]


def labelled(*labels: Any) -> pa.Table:
    return pa.table({"image": CONTENT[: len(labels)], "label": list(labels)})


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (pa.table({"image": [{"bytes": None, "path": "a.png"}]}).cast(pa.schema([TABLE.schema.field("image")])),
         r"a\.parquet\[0\] has the path of an image but no bytes; .*embed_external_files"),
        (pa.table({"label": [1]}), "has 0 columns of images among label"),
        (pa.table({"a": CONTENT, "b": CONTENT}), "has 2 columns of images among a, b"),
        (pa.table({"image": CONTENT, "img": CONTENT}), "has 2 columns of images"),
        (pa.table({"image": ["a.png"]}), "has 0 columns of images"),
        (labelled(1, None), r"found None as the label of a\.parquet\[1\]"),
        (labelled(1, -1), r"found -1 as the label of a\.parquet\[1\]"),
        (labelled("a", ""), r"found '' as the label"),
        (labelled(1.5, 2.5), r"found 1\.5 as the label of "),
        (labelled([1], [2]), "column label of a.parquet has the type list"),
        (labelled(True, False), "column label of a.parquet has the type bool"),
        (with_names(labelled(0, 2), ["a", "b"]), r"found the label 2 of a\.parquet\[1\] but 2 class names"),
        (with_names(labelled(0, 1), ["a", "a"]), "the class names in the metadata of a.parquet are"),
        (labelled(0).replace_schema_metadata({"huggingface": "{"}), "metadata `huggingface` of a.parquet is damaged"),
        (labelled(0).replace_schema_metadata({"huggingface": "[" * 9999}), "metadata `huggingface`"),
        (labelled(0).replace_schema_metadata({"huggingface": '{"info": {}}'}), "metadata `huggingface`"),
    ],
)  # fmt: skip
def test_tables_that_fit_nothing_are_one_line(table: pa.Table, found: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=found) as caught:
        all_items(written(tmp_path, table))
    assert str(caught.value).startswith("data.source=")
    assert "\n" not in str(caught.value)


def test_tables_that_differ_are_told(tmp_path: Path) -> None:
    written(tmp_path, with_names(TABLE, ["a", "b", "c"]))
    with pytest.raises(UserError, match=r"b.parquet has other columns or class names than a.parquet"):
        all_items(written(tmp_path, with_names(TABLE, ["a", "c", "b"]), "b.parquet"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(40) + b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"text"])
def test_what_is_no_table_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"a.parquet is damaged"):
        all_items(source(tmp_path))


def test_a_folder_without_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found no \.parquet files"):
        all_items(source(tmp_path))


def test_a_row_group_too_large_to_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlib.datasets.sources.parquet._MAX_GROUP_BYTES", 100)
    with pytest.raises(UserError, match=r"row group 0 of a.parquet has 5 rows of .* smaller row groups"):
        all_items(written(tmp_path, TABLE))
