import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlib.datasets.files import open_files
from ganlib.datasets.sources.npz import NpzSource
from ganlib.errors import UserError
from tests.ganlib.datasets.array_files import all_items, as_pixels, usable
from tests.ganlib.datasets.image_files import data_options, noise

IMAGES = noise(0, 4, 6, 5)
LABELS = np.arange(4)


def source(location: Path, **changes: Any) -> NpzSource:
    return NpzSource(open_files(str(location), 1000), data_options(location, **changes))


def saved(folder: Path, **arrays: Any) -> NpzSource:
    np.savez(folder / "a.npz", **arrays)
    return source(folder / "a.npz")


def npy(values: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": IMAGES, "labels": LABELS},
        {"images": IMAGES, "labels": LABELS.astype(">u2")},
        {"images": IMAGES, "labels": LABELS.astype(np.float32)},
        {"images": IMAGES, "labels": LABELS[:, None], "mu": np.zeros(3)},
        {"x_train": IMAGES, "y_train": LABELS},
        {"train_images": IMAGES, "train_labels": LABELS},
        {"images": IMAGES, "labels": np.array(["0", "1", "2", "3"])},
        {"images": IMAGES, "labels": np.array([b"0", b"1", b"2", b"3"])},
    ],
)
def test_layouts_and_types_of_labels(arrays: dict[str, Any], tmp_path: Path) -> None:
    items = usable(saved(tmp_path, **arrays))
    assert [item.label for item in items] == ["0", "1", "2", "3"]
    assert {item.split for item in items} == {None}
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), IMAGES)


def test_an_array_without_a_name_has_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", IMAGES)
    items = usable(source(tmp_path))
    assert [item.name for item in items] == [f"a.npz/arr_0[{row}]" for row in range(4)]
    assert {item.label for item in items} == {None}


def test_validation_images_are_held_out_where_there_are_no_test_images(tmp_path: Path) -> None:
    sets = {split: noise(seed, 2, 6, 5) for seed, split in enumerate(("train", "test", "val"))}
    arrays = {f"{split}_images": images for split, images in sets.items()}
    labels = {f"{split}_labels": [[0], [1]] for split in sets}
    for held_out in ("test", "val"):
        found = {(item.split, item.key): as_pixels(item) for item in usable(saved(tmp_path, **arrays, **labels))}
        assert sorted(found) == [(split, f"{row:09d}") for split in ("test", "train") for row in range(2)]
        assert np.array_equal(found["test", "000000000"], sets[held_out][0])
        arrays.pop("test_images", None)


def test_channels_first_are_turned(tmp_path: Path) -> None:
    images = noise(0, 2, 3, 8, 9)
    items = usable(saved(tmp_path, images=images))
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), images.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"images": IMAGES / 255}, r"a\.npz/images has the type float64.*\.astype\('uint8'\)"),
        ({"images": IMAGES.astype(np.int64)}, "has the type int64"),
        ({"images": IMAGES > 3}, "has the type bool"),
        ({"images": IMAGES[0]}, r"has the shape \[6, 5\]; expected \[N, H, W\]"),
        ({"images": np.uint8(3)}, "asks for|has the shape"),
        ({"images": IMAGES[:0]}, r"has the shape \[0, 6, 5\]"),
        ({"images": noise(0, 2, 8, 9, 2)}, "has no dimension for channels"),
        ({"images": noise(0, 2, 3, 8, 3)}, "could have its channels first or last"),
        ({"images": IMAGES.transpose(0, 2, 1)[:, :, ::1].copy(order="F")}, "is in column order"),
        ({"images": IMAGES, "labels": LABELS[:3]}, "3 labels for the 4 images"),
        ({"images": IMAGES, "labels": LABELS / 2}, r"found 0.5 as the label of a\.npz/labels\[1\]"),
        ({"images": IMAGES, "labels": LABELS * np.nan}, r"found nan as the label of a\.npz/labels\[0\]"),
        ({"images": IMAGES, "labels": LABELS * 1j}, "a.npz/labels has the type complex128"),
        ({"images": IMAGES, "labels": np.eye(4, dtype=int)}, r"has the shape \[4, 4\]; expected one label an image"),
        ({"images": IMAGES, "labels": LABELS - 1}, r"found -1 as the label of a\.npz/labels\[0\]"),
        ({"images": IMAGES, "labels": np.array(["a", "", "b", "c"])}, r"found '' as the label of .*\[1\]"),
        ({"images": IMAGES, "labels": np.array(["a", "b\n", "b", "c"])}, r"found 'b\\n' as the label"),
        ({"images": IMAGES, "labels": np.array([b"\xff"] * 4)}, "is damaged"),
        ({"images": IMAGES, "labels": np.zeros(4, [("a", "u1")])}, "expected plain numbers or texts"),
        ({"pictures": IMAGES}, "has the arrays pictures; expected images and labels, or"),
        ({"images": IMAGES, "x_train": IMAGES}, "has the arrays images, x_train; expected"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES}, "x_test has no labels but others have"),
    ],
)
def test_arrays_that_fit_nothing_are_one_line(arrays: dict[str, Any], found: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=found) as caught:
        all_items(saved(tmp_path, **arrays))
    assert str(caught.value).startswith("data.source=")
    assert "\n" not in str(caught.value)


class _Bomb:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.ran}",)


@pytest.mark.parametrize("name", ["images", "labels"])
def test_an_array_of_objects_is_not_unpickled(name: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bomb = np.empty(4, object)
    bomb[:] = [_Bomb(ran)] * 4
    arrays = {"images": IMAGES, "labels": LABELS} | {name: bomb}
    with pytest.raises(UserError, match="has the type object"):
        all_items(saved(tmp_path, **arrays))
    assert not ran.exists()
    with np.load(tmp_path / "a.npz", allow_pickle=True) as archive:
        archive[name]
    assert ran.exists()


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> NpzSource:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return source(path)


GOOD = npy(IMAGES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (GOOD[:-1], "247 bytes.*asks for 248"),
        (GOOD + b"\0", "249 bytes.*asks for 248"),
        (GOOD.replace(b"(4, 6, 5), }", b"(9**9,6,5),}"), "is damaged"),
        (GOOD.replace(b"(4, 6, 5), }    ", b"(44444444, 6, 5)}"[:16]), "is damaged"),
        (GOOD.replace(b"(4, 6, 5), }", b"(-4, 6, 5),}"), "is damaged"),
        (GOOD.replace(b"'|u1'", b"'|O' "), "is damaged"),
        (GOOD.replace(b"{'descr'", b"(((((((("), "is damaged"),
        (GOOD.replace(b"\x01\x00v", b"\x03\x00v"), "version 3.0"),
        (GOOD.replace(b"\x01\x00v\x00", b"\x01\x00\xff\xff"), "is damaged"),
        (b"", "is damaged"),
        (pickle.dumps([1]), "is damaged"),
    ],
)
def test_lying_headers_are_one_line(content: bytes, found: str, method: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=found) as caught:
        all_items(zipped(tmp_path / "a.npz", {"images.npy": content}, method))
    assert str(caught.value).startswith("data.source=")
    assert "\n" not in str(caught.value)


def test_terabytes_of_zeros_are_not_inflated(tmp_path: Path) -> None:
    start = npy(np.zeros((1, 6, 5), np.uint8))[:128].replace(b"(1, 6, 5), }             ", b"(33333333333, 6, 5), }   ")
    made = zipped(tmp_path / "a.npz", {"images.npy": start + bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="asks for 1000000000118"):
        all_items(made)


def test_a_member_whose_checksum_is_wrong_is_told(tmp_path: Path) -> None:
    made = zipped(tmp_path / "a.npz", {"images.npy": GOOD, "labels.npy": npy(LABELS)})
    content = (tmp_path / "a.npz").read_bytes()
    at = content.index(npy(LABELS)) + 128
    (tmp_path / "a.npz").write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    with pytest.raises(UserError, match="Bad CRC-32"):
        all_items(made)


def test_several_archives_or_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found 0 \.npz and 0 \.npy files \(none\)"):
        all_items(source(tmp_path))
    saved(tmp_path, images=IMAGES)
    np.savez(tmp_path / "b.npz", images=IMAGES)
    with pytest.raises(UserError, match=r"found 2 \.npz and 0 \.npy files \(a\.npz, b\.npz\)"):
        all_items(source(tmp_path))


def test_several_npy_files_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    assert len(usable(source(tmp_path / "a.npy"))) == 4
    np.save(tmp_path / "b.npy", IMAGES)
    with pytest.raises(UserError, match=r"found 2 \.npy files of images \(a\.npy, b\.npy\)"):
        all_items(source(tmp_path))


@pytest.mark.parametrize("packed", [False, True])
def test_large_arrays_are_read_in_parts(packed: bool, tmp_path: Path) -> None:
    images, labels = noise(0, 600, 4, 4), np.arange(600)
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", images=images, labels=labels)
    assert len(list(source(tmp_path).parts())) == 3
    items = usable(source(tmp_path))
    assert [item.label for item in items] == [str(row) for row in range(600)]
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), images)
