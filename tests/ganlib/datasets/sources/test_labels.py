"""Label files as people and StyleGAN's tools write them, and all that can be wrong with one."""

import io
import json
from collections.abc import Mapping

import pytest

from ganlib.datasets.sources.labels import read_label_file
from ganlib.errors import UserError


def read(name: str, content: str | bytes) -> Mapping[str, str] | None:
    return read_label_file("images", name, io.BytesIO(content.encode() if isinstance(content, str) else content))


def test_csv() -> None:
    expected = {"x/a.png": "cat", "b, c.png": "small dog"}
    for header in ("name,label", "file_name,class", "Path, LABEL", "image,label,split", "filename,label"):
        assert read("l.csv", f'{header}\nx/a.png,cat\n\n"b, c.png", small dog \n') == expected
    assert read("l.csv", '\ufeffid,class,name\r\n1,cat,./x/a.png\r\n2,small dog,"b, c.png"\r\n') == expected


def test_json() -> None:
    labels = [["00000/img00000000.png", 6], ["x//a.png", "cat"], ["b.png", 3.0]]
    expected = {"00000/img00000000.png": "6", "b.png": "3", "x/a.png": "cat"}
    assert read("dataset.json", json.dumps({"labels": labels, "other": 1})) == expected
    assert read("dataset.json", '{"labels": null}') is None
    assert read("dataset.json", '{"labels": []}') == {}


def test_names_are_composed_and_backslashes_are_slashes() -> None:
    assert read("l.csv", "name,label\ncafe\u0301\\1.png,cafe\u0301\n") == {"caf\u00e9/1.png": "caf\u00e9"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.csv", "", "its first line is ''; expected the columns name .* and label or class"),
        ("l.csv", "a.png,cat\n", "its first line is 'a.png,cat'; expected the columns name"),
        ("l.csv", "name,label\na.png\n", "line 2 has no name or no label"),
        ("l.csv", "name,label\na.png, \n", "line 2 has no name or no label"),
        ("l.csv", "name,label\na.png,cat\n./a.png,dog\n", "lists a.png twice"),
        ("l.csv", 'name,label\n"a.png,cat\n', "line 2 is no CSV"),
        ("l.csv", "name,label\na.png," + "x" * 200_000, r"line 2 is no CSV \(field larger"),
        ("l.csv", b"name,label\n\xff.png,cat\n", r"not UTF-8 \(invalid start byte at byte 11\); save it as UTF-8"),
        ("d.json", "{", "not valid JSON"),
        ("d.json", "[" * 100_000, "not valid JSON"),
        ("d.json", "[]", "found no list called labels"),
        ("d.json", '{"labels": {"a.png": 1}}', "found no list called labels"),
        ("d.json", '{"labels": [["a.png", 1], ["b.png"]]}', r"labels\[1\] is .*\"b.png\""),
        ("d.json", '{"labels": [["a.png", [0, 1]]]}', r"labels\[0\] is "),
        ("d.json", '{"labels": [["a.png", 0.5]]}', r"labels\[0\] is "),
        ("d.json", '{"labels": [["a.png", true]]}', r"labels\[0\] of a.png is true"),
        ("d.json", '{"labels": [["a.png", ""]]}', r"labels\[0\] is "),
        ("d.json", '{"labels": [["a.png", 1], ["a.png", 1]]}', "lists a.png twice"),
        ("d.json", '{"labels": [["a.png", "\\ud800"]]}', r"the label \\ud800 of a.png has a control character"),
        ("l.csv", "name,label\na.png,x\x1b[1m\n", r"the label x\\x1b\[1m of a.png has a control character"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read(name, content)
    assert str(caught.value).startswith(f"data.source=images: {name}: ")
    assert str(caught.value).isprintable()
