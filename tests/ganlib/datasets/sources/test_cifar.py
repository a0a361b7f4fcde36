import os
import pickle
import struct
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlib.datasets.files import Folder, open_files
from ganlib.datasets.sources.cifar import CifarSource, is_cifar
from ganlib.datasets.sources.pickles import read_pickle
from ganlib.errors import UserError
from tests.ganlib.datasets.array_files import (
    Sets,
    all_items,
    as_pixels,
    mistake,
    usable,
    write_cifar100_python,
    write_cifar_binary,
    write_cifar_python,
    write_cifar_tar,
)
from tests.ganlib.datasets.image_files import data_options, noise

NAMES = ["plane", "car", "bird"]


def source(location: Path, **changes: Any) -> CifarSource:
    return CifarSource(open_files(str(location), 1000), data_options(location, **changes))


def sets(count: int = 6) -> Sets:
    images, labels = noise(1, count, 32, 32, 3), [n % 3 for n in range(count)]
    return {"train": (images[2:], labels[2:]), "test": (images[:2], labels[:2])}


def published_pickle(images: np.ndarray, labels: list[int], names: list[str]) -> bytes:
    """The opcodes of Python 2 and NumPy 1 in the published batches, written by hand."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<I", len(value)) + value

    data = images.transpose(0, 3, 1, 2).tobytes()
    shape = b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86"
    dtype = b"cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87Rq\x0a(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
        b"(K\x01" + shape + dtype + b"\x89" + text(data) + b"tb"
    )
    listed = b"]q\x03(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    files = b"](" + b"".join(text(name.encode()) for name in names) + b"e"
    return b"\x80\x02}q\x01(U\x06labelsq\x02" + listed + b"U\x04dataq\x04" + array + b"U\x09filenames" + files + b"u."


def test_published_batches_of_python_2_are_read(tmp_path: Path) -> None:
    images, labels = noise(3, 5, 32, 32, 3), [2, 0, 1, 1, 0]
    (tmp_path / "data_batch_1").write_bytes(published_pickle(images, labels, ["a.png"] * 5))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES, "num_vis": 3072}, protocol=2))
    items = usable(source(tmp_path))
    assert [item.label for item in items] == [NAMES[label] for label in labels]
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), images)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_batches_saved_again_are_read(protocol: int, tmp_path: Path) -> None:
    images = noise(3, 5, 32, 32, 3)
    write_cifar_python(tmp_path, {None: (images, [0] * 5)}, protocol=protocol)
    assert np.array_equal(np.stack([as_pixels(item) for item in usable(source(tmp_path))]), images)


def test_class_names_stand_in_the_file_of_names(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path, sets())
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    found = {(item.split, int(item.key)): item.label for item in usable(source(tmp_path))}
    assert found == {("test", n): NAMES[n] for n in range(2)} | {("train", n - 2): NAMES[n % 3] for n in range(2, 6)}


def test_fine_labels_of_cifar_100_are_used(tmp_path: Path) -> None:
    write_cifar100_python(tmp_path, sets())
    (tmp_path / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES, "coarse_label_names": ["x"]}))
    assert {item.label for item in usable(source(tmp_path))} == set(NAMES)


def test_the_downloaded_archive_gives_what_its_folder_does(tmp_path: Path) -> None:
    archive = write_cifar_tar(tmp_path, sets(9))
    packed = usable(source(archive))
    unpacked = usable(source(tmp_path / "cifar-10-batches-py"))
    found = {(item.split, item.key): (item.label, as_pixels(item).tobytes()) for item in packed}
    assert found == {(item.split, item.key): (item.label, as_pixels(item).tobytes()) for item in unpacked}
    assert [item.key for item in packed] != [item.key for item in unpacked]


def test_numbers_do_not_depend_on_how_many_batches_there_are(tmp_path: Path) -> None:
    images = noise(1, 13, 32, 32, 3)
    rows = np.concatenate([np.zeros((13, 1), np.uint8), images.transpose(0, 3, 1, 2).reshape(13, -1)], axis=1)
    for batch in range(13):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(rows[batch].tobytes())
    items = usable(source(tmp_path))
    assert [item.key for item in items] == [f"{row:09d}" for row in range(13)]
    assert np.array_equal(np.stack([as_pixels(item) for item in items]), images)


class _Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("hidden", ["alone", "in the labels", "in the data"])
def test_a_pickle_that_would_run_code_does_not(hidden: str, protocol: int, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    bomb = _Call(os.system, f"touch {ran}")
    planes = np.zeros((1, 3072), np.uint8)
    batch: Any = {"labels": [bomb], "data": planes} if hidden == "in the labels" else {"labels": [0], "data": bomb}
    content = pickle.dumps(bomb if hidden == "alone" else batch, protocol=protocol)
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(UserError, match=r"^data\.source=.*data_batch_1 is damaged \(a pickle that would call .*system"):
        all_items(source(tmp_path))
    assert not ran.exists()
    # The proof that it would have.
    pickle.loads(content)
    assert ran.exists()


NUMPY = b"cnumpy.core.multiarray\n_reconstruct\n"
HOSTILE = {
    "imports alone": b"cthis\ns\n.",
    "calls by NEWOBJ": b"\x80\x02cthis\ns\n)\x81.",
    "calls by INST": b"(S'x'\nithis\ns\n.",
    "calls by OBJ": b"(cthis\ns\no.",
    "state of a name": b"\x80\x02cthis\ns\n}b.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Px\n.",
    "calls what is no name": b"\x80\x02K\x01)R.",
    "reconstructs another class": NUMPY + b"cthis\ns\nK\x00\x85U\x01b\x87R.",
    "objects in an array": pickle.dumps({"data": np.array([None]), "labels": [0]}, protocol=2),
    "bytes that do not fit": pickle.dumps({"data": np.zeros(7, np.uint8), "labels": [0]}, protocol=2).replace(
        b"K\x07\x85", b"K\x08\x85"
    ),
    "a shape of enormous numbers": b"\x80\x02}U\x04data" + NUMPY + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    b"(\x8a\xff" + b"\x7f" * 255 + b"2" * 60 + b"tcnumpy\ndtype\nU\x02u1\x85R\x89U\x00tbs.",
    "keys that take for ever": b"\x80\x02}(K\x01" + b"2\x86" * 60 + b"K\x01u.",
    "a memo of gigabytes": b"\x80\x02K\x01r\xff\xff\xff\xff.",
    "a text of terabytes": b"\x80\x04\x8d\xff\xff\xff\xff\xff\x00\x00\x00x.",
    "pops of nothing": b"\x80\x02000.",
    "a mark of nothing": b"\x80\x02e.",
    "no end": b"\x80\x02}",
    "nothing": b"",
    "no pickle": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(HOSTILE[name])
    found = mistake(source(tmp_path))
    assert found is not None
    assert found.startswith("data.source=")
    assert "\n" not in found
    assert "this" not in sys.modules


@pytest.mark.timeout(20)
def test_what_refers_to_itself_many_times_is_not_spelt_out(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(80):
        nested = [nested, nested]
    batch = {"labels": [nested], "data": np.zeros((1, 3072), np.uint8)}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    assert "found a list as the label" in (mistake(source(tmp_path)) or "")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0, 1], r"it has 2 labels for 3 images"),
        ([0, 1, 3], r"found the label 3 of data_batch_1\[2\] but 3 class names"),
        ([0, -1, 1], r"found -1 as the label of data_batch_1\[1\]"),
        ([0, None, 1], r"found None as the label"),
        ([0, True, 1], r"found True as the label"),
        ({0: 1}, r"it has no list `labels`"),
    ],
)
def test_labels_that_fit_nothing_are_told(labels: Any, found: str, tmp_path: Path) -> None:
    batch = {"data": np.zeros((3, 3072), np.uint8), "labels": labels}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    with pytest.raises(UserError, match=found):
        all_items(source(tmp_path))


def test_names_that_are_doubled_or_no_texts_are_told(tmp_path: Path) -> None:
    write_cifar_python(tmp_path, sets())
    for names in (["a", "a", "b"], [1, 2, 3], "abc", []):
        (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
        with pytest.raises(UserError, match=r"the class names in .* are"):
            all_items(source(tmp_path))


def test_mixed_layouts_and_folders_are_told(tmp_path: Path) -> None:
    write_cifar_python(tmp_path, sets())
    write_cifar_binary(tmp_path, sets())
    with pytest.raises(UserError, match="found CIFAR-10 binary batches and CIFAR-10 Python batches"):
        all_items(source(tmp_path))
    (tmp_path / "apart" / "more").mkdir(parents=True)
    write_cifar_python(tmp_path / "apart", sets())
    write_cifar_python(tmp_path / "apart" / "more", sets())
    with pytest.raises(UserError, match="found CIFAR batches in"):
        all_items(source(tmp_path / "apart"))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "data_batch_1").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="more than 268435456 bytes"):
        all_items(source(tmp_path))


def test_which_names_are_cifar() -> None:
    assert is_cifar(["cifar-10-batches-bin/data_batch_1.bin", "readme.html"])
    assert is_cifar(["cifar-100-python/train", "cifar-100-python/meta"])
    assert not is_cifar(["train", "test"])
    assert not is_cifar(["train/data_batch_1.png", "xdata_batch_1"])


def test_a_batch_may_lie_deep_inside_a_damaged_archive(tmp_path: Path) -> None:
    archive = write_cifar_tar(tmp_path, sets())
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"^data\.source=.*\.tar\.gz"):
        all_items(source(archive))
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(UserError, match="found no CIFAR batches"):
        all_items(source(archive))


def test_plain_data_come_back() -> None:
    plain = {"a": [1, 2.5, None, True], b"b": ("x", b"y", (1, 2, 3), ()), 3: {"c": 1 << 70}}
    for protocol in (2, 3, 4, 5):
        assert read_pickle(pickle.dumps(plain, protocol=protocol)) == plain


def test_it_is_read_through_any_files(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path, sets())
    assert len(usable(CifarSource(Folder(str(tmp_path), 100), data_options(tmp_path)))) == 6
