"""What folders mean: splits, classes, folders around them, and folders that hold no image."""

import json
from pathlib import Path
from typing import Any

import pytest

from ganlib.datasets.items import Refusal
from ganlib.datasets.sources.opening import is_labelled, open_source
from ganlib.errors import UserError
from ganlib.events import Event, Notice
from tests.ganlib.datasets.containers import KINDS, all_of, bring, items_of, meanings, refused
from tests.ganlib.datasets.image_files import data_options, write_folder, write_zip

FILES = {"9/a.png": b"nine", "10/b.jpg": b"ten"}
CLASSES = {"9/a.png": b"a", "10/b.png": b"b", "10/deep/c.png": b"c"}
PARTS = {f"{part}/{name}": content for part in ("train", "test") for name, content in CLASSES.items()}


def split_files(*folders: str, inside: str = "cat/") -> dict[str, bytes]:
    return {f"{folder}/{inside}{n}.png": b"x" for folder in folders for n in range(2)}


@pytest.mark.parametrize(
    ("train", "other"),
    [("train", "Test"), ("training", "testing"), ("train2017", "val2017"), ("training_set", "dev"), ("TRAIN", "eval")],
)
def test_split_folders(tmp_path: Path, train: str, other: str) -> None:
    source = write_folder(tmp_path / "classes", split_files(train, other))
    assert set(meanings(source).values()) == {(f"{n}", "cat", split) for n in range(2) for split in ("train", "test")}
    assert set(meanings(source, split="hash").values()) == {(f"{n}", "cat", None) for n in range(2)}
    flat = write_folder(tmp_path / "flat", split_files(train, other, inside=""))
    assert set(meanings(flat).values()) == {(f"{n}", None, split) for n in range(2) for split in ("train", "test")}


def test_folders_of_the_published_sets_of_cyclegan(tmp_path: Path) -> None:
    names = ("trainA", "trainB", "testA", "testB")
    expected = {("0", "A", "train"), ("1", "A", "train"), ("0", "B", "train"), ("1", "B", "train")}
    expected |= {(key, side, "test") for key, side, _ in expected}
    for around in ("", "horse2zebra/"):
        files = split_files(*(f"{around}{name}" for name in names), inside="")
        assert set(meanings(write_folder(tmp_path / f"sides{len(around)}", files)).values()) == expected
    merged = meanings(tmp_path / "sides0", split="hash")
    assert set(merged.values()) == {(key, side, None) for key, side, _ in expected}
    validated = write_folder(tmp_path / "val", split_files(*names, "valA", "valB", inside="") | {"testB/x.txt": b"?"})
    assert set(meanings(validated).values()) == expected
    unlabelled = write_folder(tmp_path / "one", split_files("trainA", "testA", inside=""))
    assert {(label, split) for _, label, split in meanings(unlabelled).values()} == {("trainA", None), ("testA", None)}


def test_folders_that_only_look_like_splits(tmp_path: Path) -> None:
    vehicles = write_folder(tmp_path / "vehicles", split_files("bus", "train", inside=""))
    assert {label for _, label, _ in meanings(vehicles).values()} == {"bus", "train"}
    tests = write_folder(tmp_path / "tests", split_files("test", "rest", inside=""))
    assert {(label, split) for _, label, split in meanings(tests).values()} == {("test", None), ("rest", None)}
    alone = write_folder(tmp_path / "alone", split_files("train"))
    assert {(label, split) for _, label, split in meanings(alone).values()} == {("cat", None)}
    stations = write_folder(tmp_path / "stations", split_files("train station", "test tube", inside=""))
    assert {label for _, label, _ in meanings(stations).values()} == {"train station", "test tube"}
    numbers = write_folder(tmp_path / "numbers", split_files("test1", "test2", inside=""))
    assert {label for _, label, _ in meanings(numbers).values()} == {"test1", "test2"}
    notes = write_folder(tmp_path / "notes", split_files("train", "test") | {"docs/README.md": b"?"})
    assert {split for _, _, split in meanings(notes).values()} == {"train", "test"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (split_files("val", "test"), "found images in test/ and val/; expected a part called train beside them"),
        (split_files("x/val", "x/dev", "x/test"), "found images in x/test/ and x/dev/ and x/val/; expected a part"),
        (split_files("train", "test", "extra"), r"others beside these folders \(such as extra\)"),
        (split_files("train", "test") | {"top.png": b""}, r"others beside these folders \(such as top.png\)"),
        (FILES | {"top.png": b""}, r"both at the top \(top.png\) and in folders \((10/b.jpg|9/a.png)\)"),
        (split_files("train") | split_files("test", inside=""), r"both at the top \(test/0.png\) and in .*\(train/cat"),
    ],
)
def test_folders_that_contradict_each_other(files: dict[str, bytes], words: str, tmp_path: Path) -> None:
    for kind in ("folder", "tar.gz"):
        with pytest.raises(UserError, match=words) as caught:
            items_of(data_options(bring(kind, tmp_path, files)))
        assert str(caught.value).startswith("data.source=")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrapper", ["photos/", "my set/2024/", "train/"])
@pytest.mark.parametrize("files", [CLASSES, PARTS], ids=["classes", "splits"])
def test_a_lone_folder_around_all_images_means_nothing(wrapper: str, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "wrapped").mkdir()
    wrapped = {f"{wrapper}{name}": content for name, content in files.items()} | {"README.md": b"?"}
    for kind in ("folder", "zip", "tar.gz"):
        plain = meanings(bring(kind, tmp_path / "plain", files))
        found = bring(kind, tmp_path / "wrapped", wrapped)
        assert meanings(found) == {f"{wrapper}{name}": meaning for name, meaning in plain.items()}
        assert is_labelled(data_options(found))
        # A label file lies in that folder, too, and tells of paths beside it.
        labels = json.dumps({"labels": [[name, len(name)] for name in files]}).encode()
        found = bring(kind, tmp_path / "wrapped", wrapped | {f"{wrapper}dataset.json": labels})
        assert {name: label for name, (_, label, _) in meanings(found).items()} == {
            f"{wrapper}{name}": str(len(name)) for name in files
        }
        (tmp_path / "wrapped/folder" / wrapper / "dataset.json").unlink(missing_ok=True)


def test_folders_twice_around_the_images_of_a_split(tmp_path: Path) -> None:
    twice = {f"{part}/{part}/{name}": b"x" for part in ("train", "test") for name in CLASSES}
    assert {label for _, label, _ in meanings(write_folder(tmp_path / "a", twice)).values()} == {"9", "10"}
    once = {"train/cat/x/a.png": b"a", "train/cat/y/b.png": b"b", "test/cat/c.png": b"c", "test/dog/d.png": b"d"}
    assert {label for _, label, _ in meanings(write_folder(tmp_path / "b", once)).values()} == {"cat", "dog"}


def test_a_lone_folder_of_images_is_a_class_unless_it_is_called_as_a_split(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "a", {"in/photos/1.png": b"1", "in/photos/more/2.png": b"2"})
    assert {label for _, label, _ in meanings(photos).values()} == {"photos"}
    assert not is_labelled(data_options(photos, labels="none"))
    alone = write_folder(tmp_path / "b", {"in/test/1.png": b"1", "in/test/2.png": b"2"})
    assert {(label, split) for _, label, split in meanings(alone).values()} == {(None, None)}


def notices(source: Path | str, **changes: Any) -> list[str]:
    events: list[Event] = []
    for part in open_source(data_options(source, **changes), events.append).parts():
        list(part.items())
    return [event.text for event in events if isinstance(event, Notice)]


def test_what_is_made_of_folders_is_told_in_one_line(tmp_path: Path) -> None:
    assert notices(write_folder(tmp_path / "plain", CLASSES)) == []
    three = write_folder(tmp_path / "three", split_files("train", "test", "val", "dev"))
    assert [text.removeprefix(f"{three}: ") for text in notices(three)] == [
        "trains on train/ and holds out test/, as they are called; does not use dev/ and val/ (data.split=hash would "
        "use all)"
    ]
    assert set(meanings(three)) == set(split_files("train", "test"))
    assert refused(data_options(three)) == {}
    assert notices(three, split="hash") == []
    assert set(meanings(three, split="hash")) == set(split_files("train", "test", "val", "dev"))
    for kind in ("folder", "tar.gz"):
        (text,) = notices(bring(kind, tmp_path, {f"photos/{name}": b"x" for name in CLASSES}))
        assert "takes photos/ as no class, but as the folder around the classes 10, 9; if it is" in text


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_folders_beside_classes_that_hold_no_image_are_told(kind: str, tmp_path: Path) -> None:
    others = {"cow/1.pdf": b"?", "cow/2.pdf": b"?", "docs/deep/read.me": b"?", "9/notes.txt": b"?"}
    source = bring(kind, tmp_path, CLASSES | others)
    if kind == "folder":
        (tmp_path / "folder/empty/deep").mkdir(parents=True)
        (tmp_path / "folder/.hidden").mkdir()
    empty = ", empty (0 files)" if kind == "folder" else ""
    (text,) = notices(source)
    assert text.endswith(f"holds no image in cow (2 files), docs (1 files){empty}; a folder without images is no class")


def test_refused_files_say_which_class_they_would_have_been_in(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "a", CLASSES | {"cow/large.png": bytes(99), "cow/note.txt": b"?"})
    write_folder(tmp_path / "b", {"x.png": b"x"})
    for name, target in (("cow/link.png", "b/x.png"), ("dog", "b")):
        (source / name).symlink_to(tmp_path / target)
    for place in (source, write_zip(tmp_path / "c.zip", {"cow/large.png": bytes(99)} | CLASSES)):
        found = {
            item.name: item.label
            for item in all_of(data_options(place, limits={"max_file_bytes": 50}))
            if isinstance(item, Refusal)
        }
        expected = {"cow/large.png": "cow", "cow/link.png": "cow", "dog": "dog", "cow/note.txt": None}
        assert found == (expected if place == source else {"cow/large.png": "cow"})


def test_two_forms_of_one_name_are_one_class_and_files_keep_theirs(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    files = {f"train/{composed}/{composed}.png": b"1", f"test/{decomposed}/{decomposed}.png": b"2"}
    for kind in KINDS:
        assert meanings(bring(kind, tmp_path, files)) == {
            name: (composed, composed, name.partition("/")[0]) for name in files
        }
    table = f"name,label\ntrain/{decomposed}/{decomposed}.png,x\ntest/{composed}/{composed}.png,y\n".encode()
    labelled = bring("zip", tmp_path, files | {"l.csv": table})
    assert {label for _, label, _ in meanings(labelled, labels="l.csv").values()} == {"x", "y"}
