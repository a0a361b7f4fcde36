import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlib.datasets.files import open_files
from ganlib.datasets.items import Refusal
from ganlib.datasets.sources.opening import open_source
from ganlib.datasets.sources.webdataset import WebDatasetSource, looks_like_webdataset
from ganlib.errors import UserError
from tests.ganlib.datasets.array_files import all_items, all_parts, as_pixels, png, samples, usable, write_tar
from tests.ganlib.datasets.image_files import data_options, noise

IMAGE = png(noise(0, 6, 7))


def source(location: Path, **changes: Any) -> WebDatasetSource:
    return WebDatasetSource(open_files(str(location), 10_000), data_options(location, **changes))


def tar_of(folder: Path, files: Mapping[str, bytes], **changes: Any) -> WebDatasetSource:
    return source(write_tar(folder / "a.tar", files), **changes)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("as_json", [False, True])
def test_one_tar_by_itself(mode: str, as_json: bool, tmp_path: Path) -> None:
    images, labels = noise(0, 9, 6, 7), [row % 4 for row in range(9)]
    made = source(write_tar(tmp_path / "a.tar", samples(images, labels, as_json=as_json), mode))
    items = usable(made)
    assert [(item.name, item.key, item.label) for item in items] == [
        (f"{row:09d}.png", f"{row:09d}", str(row % 4)) for row in range(9)
    ]
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), images)
    assert isinstance(open_source(data_options(tmp_path / "a.tar")), WebDatasetSource)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_large_shards_are_cut_into_parts(mode: str, tmp_path: Path) -> None:
    files = {f"{n:04d}.{kind}": IMAGE + bytes([n % 256]) for n in range(600) for kind in ("jpg", "txt")}
    parts = all_parts(source(write_tar(tmp_path / "a.tar", files, mode)))
    assert [len(list(part.items())) for part in parts] == [256, 256, 88]
    found = [item for part in parts for item in part.items()]
    assert [item.content for item in found if not isinstance(item, Refusal)] == [
        IMAGE + bytes([n % 256]) for n in range(600)
    ]


def test_names_keys_and_splits_of_shards(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for shard in ("train-000000", "train-000001", "val-000000"):
        write_tar(tmp_path / "deep" / f"{shard}.tar", {f"dir/{shard}.x.cls": b"9", f"dir/{shard}.webp": IMAGE})
    found = [(item.name, item.key, item.split) for item in usable(source(tmp_path))]
    assert found == [
        (f"deep/{shard}.tar/dir/{shard}.webp", f"dir/{shard}", split)
        for shard, split in (("train-000000", "train"), ("train-000001", "train"), ("val-000000", "test"))
    ]


@pytest.mark.parametrize(
    ("files", "label"),
    [
        ({"a.cls": b" 7\n", "a.jpg": IMAGE}, "7"),
        ({"a.cls": b"007", "a.jpg": IMAGE}, "7"),
        ({"a.cls": b"7.0", "a.jpg": IMAGE}, "7"),
        ({"a.jpg": IMAGE, "a.cls": "Bär".encode()}, "Bär"),
        ({"a.JPG": IMAGE, "a.JSON": b'{"label": "cat", "width": 3}'}, "cat"),
        ({"a.json": b'{"label": 3}', "a.cls": b"4", "a.jpg": IMAGE}, "4"),
        ({"a.json": b'{"caption": "x"}', "a.jpg": IMAGE}, None),
        ({"a.json": b"[1]", "a.jpg": IMAGE}, None),
        ({"a.jpg": IMAGE, "a.seg.txt": b"x", "a.txt": b"x"}, None),
    ],
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_labels_of_a_sample(files: dict[str, bytes], label: str | None, mode: str, tmp_path: Path) -> None:
    made = source(write_tar(tmp_path / "a.tar", files, mode))
    assert [(item.key, item.label) for item in usable(made)] == [("a", label)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a.jpg": IMAGE, "a.cls": b"1", "b.jpg": IMAGE}, r"found None as the label of b\.jpg"),
        ({"a.jpg": IMAGE, "b.jpg": IMAGE, "b.cls": b"1"}, "b.jpg has a label but the first sample has none"),
        ({"a.jpg": IMAGE, "a.json": b"{}", "b.jpg": IMAGE, "b.json": b'{"label": 1}'}, "b.jpg has a label but"),
        ({"a.jpg": IMAGE, "a.cls": b""}, r"found '' as the label of a\.cls"),
        ({"a.jpg": IMAGE, "a.cls": b"-1"}, r"found -1 as the label of a\.cls"),
        ({"a.jpg": IMAGE, "a.cls": b"\xff"}, r"a\.cls is damaged"),
        ({"a.jpg": IMAGE, "a.cls": b"1" * (1 << 20) + b"1"}, r"a\.cls cannot be read or has over"),
        ({"a.jpg": IMAGE, "a.json": b'{"label": '}, r"a\.json is damaged"),
        ({"a.jpg": IMAGE, "a.json": b"[" * 100_000}, r"a\.json is damaged"),
        ({"a.jpg": IMAGE, "a.json": b'{"label": [1, 2]}'}, "found a list as the label of"),
        ({"a.jpg": IMAGE, "a.json": b'{"label": 1.5}'}, "found 1.5 as the label of"),
        ({"a.jpg": IMAGE, "a.png": IMAGE}, r"has 2 images \(a\.jpg, a\.png\)"),
        ({"a.in.png": IMAGE, "a.out.png": IMAGE}, r"sample a has 2 images \(a\.in\.png, a\.out\.png\); expected"),
    ],
)
def test_labels_that_fit_nothing_are_one_line(files: dict[str, bytes], found: str, mode: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=found) as caught:
        all_items(source(write_tar(tmp_path / "a.tar", files, mode)))
    assert str(caught.value).startswith("data.source=")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_samples_that_are_not_used_are_refused_one_by_one(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in (("a.jpg", IMAGE), ("b.txt", b"x"), ("../c.jpg", IMAGE), ("d.jpg", IMAGE * 99)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("e.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = all_items(source(path, limits={"max_file_bytes": 5000}))
    assert [(item.name, item.kind if isinstance(item, Refusal) else "item") for item in found] == [
        ("a.jpg", "item"),
        ("b", "not_an_image"),
        ("../c.jpg", "unsafe_name"),
        ("d.jpg", "too_large"),
        ("e.jpg", "unsafe_name"),
    ]


def test_labels_nobody_wants_are_not_read(tmp_path: Path) -> None:
    files = {"a.jpg": IMAGE, "a.cls": b"\xff", "b.jpg": IMAGE, "b.json": b"{"}
    assert [item.label for item in usable(tar_of(tmp_path, files, labels="none"))] == [None, None]


def dated(count: int) -> list[str]:
    """Names as cameras write them, with dots of their own."""
    return [f"2024.{1 + n // 20:02d}.01_{n}" for n in range(count)]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("labelled", [True, False])
def test_dots_of_names_lose_no_image(mode: str, labelled: bool, tmp_path: Path) -> None:
    pictures = {stem: png(noise(n, 6, 7)) for n, stem in enumerate([*dated(150), "3.1", "plain", "a.0", "a.1"])}
    files = {}
    for n, (stem, picture) in enumerate(pictures.items()):
        files |= {f"{stem}.png": picture, f"{stem}.txt": b"a caption"}
        if labelled:
            files[f"{stem}.cls"] = b"%d" % (n % 3)
    path = write_tar(tmp_path / "train-0.tar", files, mode)
    found = usable(source(tmp_path))
    assert {item.key: item.content for item in found} == pictures
    assert [item.label for item in found] == [str(n % 3) if labelled else None for n in range(len(pictures))]
    if labelled:
        assert isinstance(open_source(data_options(path)), WebDatasetSource)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("names", "used", "fields"),
    [
        (["a.seg.png", "a.jpg", "a.depth_map.v2.png", "a.txt"], ["a.jpg"], ["a.seg.png", "a.depth_map.v2.png"]),
        (["a.jpg", "a.mask0.png", "b.jpg", "b.mask0.png"], ["a.jpg", "b.jpg"], ["a.mask0.png", "b.mask0.png"]),
        (["a.rgb.jpg", "a.txt"], ["a.rgb.jpg"], []),
        (["a.0.jpg", "a.1.jpg", "a.2.jpg"], ["a.0.jpg", "a.1.jpg", "a.2.jpg"], []),
        (["a.jpg", "a.1.jpg"], ["a.jpg", "a.1.jpg"], []),
        (["dr.jones.jpg", "dr.jones.cls", "dr.who.jpg", "dr.who.cls"], ["dr.jones.jpg", "dr.who.jpg"], []),
        (["a.0.jpg", "a.1.jpg", "a.cls"], ["a.0.jpg", "a.1.jpg"], []),
    ],
)
def test_fields_and_names_with_dots_are_told_apart(
    names: list[str], used: list[str], fields: list[str], mode: str, tmp_path: Path
) -> None:
    files = {name: b"7" if name.endswith(".cls") else IMAGE for name in names}
    found = all_items(source(write_tar(tmp_path / "a.tar", files, mode)))
    assert [item.name for item in found if not isinstance(item, Refusal)] == used
    assert {item.label for item in found if not isinstance(item, Refusal)} == {"7" if b"7" in files.values() else None}
    assert [item.name for item in found if isinstance(item, Refusal) and item.kind == "companion"] == fields
    assert len(found) == len(used) + len(fields)


def test_a_shard_that_is_a_link_to_a_foreign_file_is_not_read(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "private.tar", {"a.jpg": IMAGE}).read_bytes()
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, called in (("good", hashlib.md5(content).hexdigest()), ("fake", "0" * 32)):
        (tmp_path / called).write_bytes(content)
        (folder / "train-0.tar").unlink(missing_ok=True)
        (folder / "train-0.tar").symlink_to(tmp_path / called)
        if name == "good":
            assert len(usable(source(folder))) == 1
    with pytest.raises(UserError, match=r"train-0\.tar: a link that leads outside the folder"):
        all_items(source(folder))


def test_shards_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").write_bytes(b"no tar" * 999)
    with pytest.raises(UserError, match=r"^data\.source=.*not a tar, or a damaged one"):
        all_items(source(tmp_path))
    (tmp_path / "train-0.tar").unlink()
    with pytest.raises(UserError, match="found no shards"):
        all_items(source(tmp_path))


def test_shards_with_and_without_splits_are_told(tmp_path: Path) -> None:
    for name in ("train-0", "other"):
        write_tar(tmp_path / f"{name}.tar", {"a.jpg": IMAGE})
    with pytest.raises(UserError, match="with and without a split"):
        all_items(source(tmp_path))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "a.cls"], True),
        (["x/a.cls", "x/a.png"], True),
        (["a.json", "a.png"], True),
        (["x/a.json", "x/a.png"], False),
        (["a.png", "b.cls", "dataset.json"], False),
        (["2024.05.01_7.png", "2024.05.01_7.cls"], True),
        (["a.rgb.png", "a.cls"], True),
        ([], False),
    ],
)
def test_which_members_make_a_shard(names: list[str], expected: bool) -> None:
    assert looks_like_webdataset(names) == expected


def test_json_labels_need_not_come_first(tmp_path: Path) -> None:
    files = {"a.jpg": IMAGE, "a.json": json.dumps({"label": 2}).encode(), "b.json": b'{"label": 5}', "b.jpg": IMAGE}
    assert [item.label for item in usable(tar_of(tmp_path, files))] == ["2", "5"]
