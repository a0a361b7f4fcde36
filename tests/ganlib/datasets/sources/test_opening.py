"""What a source is taken for, what its paths mean, and that it is the same whatever it is packed in."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.datasets.items import Item, Part
from ganlib.datasets.sources import image_files
from ganlib.datasets.sources.opening import check_readable, is_labelled, open_source
from ganlib.errors import UserError
from tests.ganlib.datasets.containers import KINDS, all_of, bring, items_of, meanings, refused, tar_bytes
from tests.ganlib.datasets.image_files import data_options, encode, noise, write_folder, write_zip

FILES = {"9/a.png": b"nine", "10/b.jpg": b"ten", "10/deep/er/c.PNG": b"deeper"}


NAMES = st.text(st.sampled_from("ab01é ß."), min_size=1, max_size=6).filter(lambda name: name[0] not in ". ")
IMAGES = st.dictionaries(
    st.tuples(
        NAMES.filter(lambda name: name.lower() not in ("train", "test")),
        st.lists(NAMES, max_size=2),
        NAMES,
        st.sampled_from([".png", ".JPG", ".txt", ".zip"]),
    ).map(lambda parts: "/".join([parts[0], *parts[1], parts[2]]) + parts[3]),
    st.binary(max_size=600),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(files=IMAGES, layout=st.sampled_from(["classes", "flat", "splits", "csv", "json"]), limit=st.integers(1, 600))
def test_all_containers_give_the_same(
    files: dict[str, bytes], layout: str, limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels = {name: str(len(name) % 3) for name in files if name.lower().endswith((".png", ".jpg"))}
    changes: dict[str, Any] = {"limits": {"max_file_bytes": limit}}
    match layout:
        case "flat":
            files = {name.replace("/", "_"): content for name, content in files.items()}
        case "splits":
            files = {f"{'train' if len(name) % 2 else 'test'}/{name}": content for name, content in files.items()}
            files |= {"train/a/0.png": b"0", "test/b/0.png": b"1"}
        case "csv":
            rows = "".join(f'"{name}",{label}\n' for name, label in labels.items())
            files = files | {"meta/labels.csv": f"name,label\n{rows}".encode()}
            changes["labels"] = "meta/labels.csv"
        case "json":
            files = files | {"dataset.json": json.dumps({"labels": list(labels.items())}).encode()}
    place = tmp_path_factory.mktemp("sources", numbered=True)
    found = {}
    for kind in KINDS:
        given_back = all_of(data_options(bring(kind, place, files), **changes))
        items = [
            (i.split or "", i.label or "", i.key, i.name, bytes(i.content)) for i in given_back if isinstance(i, Item)
        ]
        others = [(i.name, i.kind) for i in given_back if not isinstance(i, Item)]
        found[kind] = (sorted(items), sorted(others))
    assert all(found[kind] == found["folder"] for kind in KINDS)
    items, others = found["folder"]
    shown = {name for *_, name, _ in items} | {name for name, _ in others}
    assert shown == files.keys() - {"dataset.json", changes.get("labels")}
    assert all(len(content) <= limit for *_, content in items)


def test_class_folders_and_flat_images(tmp_path: Path) -> None:
    assert meanings(write_folder(tmp_path / "classes", FILES)) == {
        "9/a.png": ("a", "9", None),
        "10/b.jpg": ("b", "10", None),
        "10/deep/er/c.PNG": ("deep/er/c", "10", None),
    }
    flat = write_folder(tmp_path / "flat", {"b.png": b"b", "a.b.png": b"a"})
    assert meanings(flat) == {"b.png": ("b", None, None), "a.b.png": ("a.b", None, None)}
    # Without labels, folders are but part of the names, and may stand beside images.
    both = write_folder(tmp_path / "both", FILES | {"top.png": b"top"})
    assert meanings(both, labels="none")["9/a.png"] == ("9/a", None, None)


def test_files_that_are_no_images_are_named(tmp_path: Path) -> None:
    junk = dict.fromkeys((".DS_Store", "x/Thumbs.db", "__MACOSX/x/._a.png", ".git/a.png", "x/.hidden.png"), b"?")
    others = dict.fromkeys(
        ("README.md", "x/labels.csv", "x/noextension", "x/clip.MOV", "x/b (a's conflicted copy).png"), b"?"
    )
    files = {"x/a.png": b"a", "x/inner.tar": tar_bytes(FILES), "x/inner.zip": b"?"} | junk | others
    for kind in KINDS:
        found = refused(data_options(bring(kind, tmp_path, files)))
        archive = "an archive " + ("beside images" if kind in ("folder", "memory") else "inside an archive")
        assert found == {
            "README.md": ("companion", ".md beside images"),
            "x/labels.csv": ("companion", ".csv beside images"),
            "x/noextension": ("companion", "no image by its name or its first bytes"),
            "x/clip.MOV": ("companion", "a video; for images of it: ffmpeg -i IN.mov -vf fps=1 OUT-%05d.png"),
            "x/b (a's conflicted copy).png": (
                "companion",
                "a second version of a file, by a program that keeps folders in step",
            ),
            "x/inner.tar": ("not_an_image", f"{archive}, which is not opened"),
            "x/inner.zip": ("not_an_image", f"{archive}, which is not opened"),
        }


JPEG, PNG = encode(noise(0), "JPEG"), encode(noise(0))


def test_contents_decide_where_names_say_nothing(tmp_path: Path) -> None:
    """Layout, labels and keys are those of files that are images, whatever they are called."""
    called = ("a.jfif", "b.JPE", "c.jif", "d.JPG", "e", "f.jpg_large", "g.jpg:orig", "h.5", "i.apng", "j.dib")
    images = {f"x/{name}": JPEG for name in called} | {"y/3f2a.9bc1": PNG, "y/deeper/k.bin": PNG}
    unread = {"y/l": b"\0\0\0\x18ftypheic" + bytes(30), "y/m.HEIC": JPEG}
    others = {
        "LICENSE": b"MIT",
        "Makefile": b"all:",
        "x/notes": b"P",
        "SHA256SUMS": b"0",
        "y/z.bin": bytes(99),
        "y/w": b"",
    }
    for kind in KINDS:
        source = bring(kind, tmp_path, images | unread | others)
        found = meanings(source)
        assert set(found) == images.keys() | unread.keys()
        assert found["x/e"] == ("e", "x", None)
        assert found["y/deeper/k.bin"] == ("deeper/k", "y", None)
        assert {name for name, (kind, _) in refused(data_options(source)).items() if kind == "companion"} == set(others)
        assert is_labelled(data_options(source))
        flat = {name.replace("/", "_"): content for name, content in (images | unread).items()} | {"notes/t": b"?"}
    for kind in ("folder", "tar.gz"):
        (tmp_path / "flat").mkdir(exist_ok=True)
        source = bring(kind, tmp_path / "flat", flat)
        assert {label for _, label, _ in meanings(source).values()} == {None}
        check_readable(data_options(source))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz", "memory"])
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.txt": b"x", "README": b"y", "b.txt": b""}, r"3 files: 2 x \.txt beside images; 1 x no image by its name"),
        (
            {"a.heic": b"\0\0\0\x18ftypheic", "b.HEIC": b"\0\0\0\x18ftypmif1"},
            r"2 x HEIC, .*mogrify -format png '\*\.heic'",
        ),
        ({"a.avif": b"\0\0\0\x18ftypavif"}, r"1 x AVIF, which is not read; convert it: magick mogrify"),
        ({"a.nef": b"II*\0" + bytes(99)}, r"a camera's raw data, .*'\*\.nef'"),
        ({"a.CR3": b"\0\0\0\x18ftypcrx "}, r"a camera's raw data"),
        ({"a.psd": b"8BPS", "b.svg": b"<svg>", "c.jxl": b"\xff\x0a", "d.tga": bytes(9)}, r"Photoshop .*SVG.*JPEG XL"),
        ({"a.tga": bytes(9)}, r"a file called \.tga, which is not read; convert it"),
        ({"a.mp4": b"\0\0\0\x18ftypisom"}, r"ffmpeg -i IN\.mp4"),
        ({"a.png": b""}, "1 x an empty file"),
        ({"a.png": b"<!doctype html>"}, "1 x an HTML page"),
    ],
)
def test_a_look_names_what_is_there_instead_of_images(
    files: dict[str, bytes], words: str, kind: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="found no usable image among .*" + words) as caught:
        check_readable(data_options(bring(kind, tmp_path, files)))
    assert str(caught.value).isprintable()


def test_labels_from_files(tmp_path: Path) -> None:
    layout = json.dumps({"labels": [["9/a.png", 1], ["10/b.jpg", 0], ["10/deep/er/c.PNG", 1]]}).encode()
    table = b"name,label\n9/a.png,cat\n10/b.jpg,dog\n10/deep/er/c.PNG,cat\n"
    source = write_folder(tmp_path / "a", FILES | {"dataset.json": layout, "labels.csv": table})
    by_json = {"9/a.png": ("9/a", "1", None), "10/b.jpg": ("10/b", "0", None)}
    assert by_json.items() <= meanings(source).items()
    assert by_json.items() <= meanings(source, labels="dataset.json").items()
    assert {label for _, label, _ in meanings(source, labels="labels.csv").values()} == {"cat", "dog"}
    assert {label for _, label, _ in meanings(source, labels="none").values()} == {None}
    assert refused(data_options(source, labels="labels.csv")) == {}
    # StyleGAN's tools number the folders of unlabelled images, too.
    null = write_folder(tmp_path / "b", FILES | {"dataset.json": b'{"labels": null}'})
    assert {label for _, label, _ in meanings(null).values()} == {None}
    with pytest.raises(UserError, match=r"dataset\.json: its labels are null; set data\.labels to none"):
        meanings(null, labels="dataset.json")
    splits = {"train/9/a.png": b"a", "test/9/b.png": b"b", "l.csv": b"name,label\ntrain/9/a.png,x\ntest/9/b.png,y\n"}
    assert meanings(write_folder(tmp_path / "c", splits), labels="l.csv") == {
        "train/9/a.png": ("9/a", "x", "train"),
        "test/9/b.png": ("9/b", "y", "test"),
    }


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
def test_label_files_that_do_not_fit(kind: str, tmp_path: Path) -> None:
    for rows, words in (
        ("9/a.png,x\n10/b.jpg,y\n", r"l\.csv has no label for 10/deep/er/c\.PNG; add a line for it"),
        (
            "9/a.png,x\n10/b.jpg,y\n10/deep/er/c.PNG,z\nb.png,x\na.png,x\n",
            r"l\.csv lists 2 images that are not there, such as a\.png; expected paths inside the source",
        ),
    ):
        source = bring(kind, tmp_path, FILES | {"l.csv": f"name,label\n{rows}".encode()})
        with pytest.raises(UserError, match=words):
            items_of(data_options(source, labels="l.csv"))
    zipped = write_zip(tmp_path / "damaged.zip", FILES | {"l.csv": b"name,label\n"}, zipfile.ZIP_STORED)
    zipped.write_bytes(zipped.read_bytes().replace(b"name,label", b"name;label"))
    with pytest.raises(UserError, match=r"l\.csv: damaged in the archive \(Bad CRC-32"):
        items_of(data_options(zipped, labels="l.csv"))
    with pytest.raises(UserError, match=r"data\.labels=\.\./l\.csv: a path that leads outside"):
        items_of(data_options(write_folder(tmp_path / "plain", FILES), labels="../l.csv"))
    with pytest.raises(UserError, match=r"data\.labels=other\.csv: not found; expected a path inside the source"):
        items_of(data_options(source, labels="other.csv"))


def test_one_look_tells_whether_there_are_labels(tmp_path: Path) -> None:
    junk = dict.fromkeys((".DS_Store", "__MACOSX/a.png", "README.md", ".git/b.png", "notes/read.txt"), b"?")
    flat = {"a.png": b"a"}
    cases: list[tuple[dict[str, bytes], bool]] = [
        (FILES, True),
        (flat, False),
        (flat | {"dataset.json": b'{"labels": [["a.png", 0]]}'}, True),
        ({"train/a.png": b"a", "test/b.png": b"b"}, False),
        ({"train/x/a.png": b"a", "test/y/b.png": b"b"}, True),
        ({"train/a.png": b"a", "walk/b.png": b"b"}, True),
    ]
    for number, (files, expected) in enumerate(cases):
        for kind in ("folder", "zip", "tar.gz"):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            options = data_options(bring(kind, tmp_path / str(number), junk | files))
            assert is_labelled(options) is expected
            assert not is_labelled(options.model_copy(update={"labels": "none"}))
    write_folder(tmp_path / "none", {"README.md": b"?"})
    (tmp_path / "damaged.zip").write_bytes(b"no zip")
    for name, words in (("none", "no usable image"), ("damaged.zip", "not a zip"), ("absent", "no such folder")):
        with pytest.raises(UserError, match=words) as caught:
            is_labelled(data_options(tmp_path / name))
        assert "\n" not in str(caught.value)


def parts_of(source: str) -> list[Part]:
    return list(open_source(data_options(source)).parts())


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_one_more_image_changes_few_parts(kind: str, tmp_path: Path) -> None:
    files = {f"{n % 10}/{n:05d}.png": b"%d" % n for n in range(1500)}
    source = bring(kind, tmp_path, files)
    before = parts_of(source)
    assert len(before) >= 4
    assert sum(1 for part in before for _ in part.items()) == 1500
    for part in before:
        copy = pickle.loads(pickle.dumps(part))
        assert copy.identity == part.identity
    assert [part.identity for part in parts_of(source)] == [part.identity for part in before]
    # Only what is new is written to a folder, as the dates of its files count.
    known = {} if kind == "folder" else files
    bring(kind, tmp_path, known | {"3/00750a.png": b"new"})
    after = {part.identity for part in parts_of(source)}
    assert len(after - {part.identity for part in before}) <= 2
    first = next(iter(files))
    bring(kind, tmp_path, known | {first: b"other"})
    changed = {part.identity for part in parts_of(source)} - after - {part.identity for part in before}
    assert len(changed) <= 1


def test_parts_of_a_compressed_tar_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_MOST_BYTES", 1000)
    source = bring("tar.gz", tmp_path, {f"{n}.png": bytes(n) for n in range(0, 1500, 50)})
    for part in parts_of(source):
        sizes = [len(item.content) for item in part.items() if isinstance(item, Item)]
        assert len(sizes) == 1 or sum(sizes) <= 1000


@pytest.mark.parametrize(
    ("files", "description"),
    [
        ({"data/train-00000.parquet": b"?", "README.md": b"?"}, "ParquetSource"),
        ({"shard-0.tar": b"?", "shard-1.tar.gz": b"?"}, "WebDatasetSource"),
        ({"train-images-idx3-ubyte.gz": b"?", "train-labels-idx1-ubyte.gz": b"?"}, "IdxSource"),
        ({"cifar-10-batches-bin/data_batch_1.bin": b"?", "cifar-10-batches-bin/batches.meta.txt": b"?"}, "CifarSource"),
        ({"cifar-100-python/train": b"?", "cifar-100-python/meta": b"?"}, "CifarSource"),
        ({"train.npz": b"?"}, "NpzSource"),
        ({"a.png": b"?", "b.png": b"?", "statistics.npz": b"?"}, "ImageFiles"),
        ({"README.md": b"?"}, "ImageFiles"),
    ],
)
def test_folders_are_told_apart_by_their_first_files(files: dict[str, bytes], description: str, tmp_path: Path) -> None:
    assert type(open_source(data_options(write_folder(tmp_path / "f", files)))).__name__ == description


@pytest.mark.parametrize(
    ("name", "content", "description"),
    [
        ("t10k-images", b"\0\0\x08\x03" + bytes(20), "IdxSource"),
        ("images.parquet", b"PAR1" + bytes(20), "ParquetSource"),
        ("images.npz", b"PK\x03\x04" + bytes(20), "NpzSource"),
        ("data_batch_1", b"\x80\x04" + bytes(20), "CifarSource"),
        ("data_batch_1.bin", bytes(3073), "CifarSource"),
        ("shard.tar", tar_bytes({"0.cls": b"0", "0.png": b"?", "1.cls": b"1", "1.png": b"?"}), "WebDatasetSource"),
    ],
)
def test_files_are_told_apart_by_their_first_bytes(name: str, content: bytes, description: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert type(open_source(data_options(tmp_path / name))).__name__ == description


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"hello", "nothing that can be read here; expected a folder or archive of images"),
        ("empty", b"", "nothing that can be read here"),
        ("a.png", b"\x89PNG", "one image file; expected a folder"),
        ("index.html", b"\n<!DOCTYPE html>", "a web page; for the files it lists put / at the end"),
        ("a.gz", b"\x1f\x8bnonsense", "damaged or cut off"),
        ("a.tar", b"hello", "not a tar"),
    ],
)
def test_files_that_are_nothing(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        open_source(data_options(tmp_path / name))
    assert str(caught.value).startswith(f"data.source={tmp_path}/{name}: ")
    assert str(caught.value).isprintable()
