import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlib.datasets.files import open_files
from ganlib.datasets.sources.idx import IdxSource, is_idx
from ganlib.errors import UserError
from tests.ganlib.datasets.array_files import all_items, all_parts, as_pixels, idx_bytes, usable, write_idx
from tests.ganlib.datasets.image_files import data_options, noise

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def source(location: Path, **changes: Any) -> IdxSource:
    return IdxSource(open_files(str(location), 1000), data_options(location, **changes))


def test_a_set_that_is_there_packed_and_unpacked_is_read_once(tmp_path: Path) -> None:
    images = noise(0, 3, 8, 9)
    write_idx(tmp_path, {"train": (images, [0, 1, 2]), "test": (images, [2, 1, 0])}, packed=True)
    write_idx(tmp_path, {"train": (images, [0, 1, 2])})
    items = usable(source(tmp_path))
    assert [item.name for item in items[-3:]] == [f"{IMAGES}[{row}]" for row in range(3)]
    assert [item.label for item in items] == ["2", "1", "0", "0", "1", "2"]


@pytest.mark.parametrize(
    "name", ["emnist-letters-test-images-idx3-ubyte.gz", "t10k-images.idx3-ubyte", "a/train-images-idx4-ubyte"]
)
def test_names_of_idx_files(name: str) -> None:
    assert is_idx(name)
    assert not is_idx(name.replace("images", "labels"))


def test_names_of_emnist_tell_splits_and_labels(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind, values in (("images-idx3", noise(1, 2, 4, 4)), ("labels-idx1", np.array([5, 6], np.uint8))):
            (tmp_path / f"emnist-letters-{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values)))
    items = usable(source(tmp_path))
    assert {(item.split, item.key, item.label) for item in items} == {
        (split, f"{row:09d}", str(row + 5)) for split in ("train", "test") for row in range(2)
    }
    (tmp_path / "emnist-digits-train-images-idx3-ubyte").write_bytes(idx_bytes(noise(1, 2, 4, 4)))
    with pytest.raises(UserError, match="found several sets of IDX images"):
        all_items(source(tmp_path))


def test_large_arrays_are_cut_into_parts_that_read_their_own_rows(tmp_path: Path) -> None:
    images = noise(0, 600, 4, 4)
    labels = [row % 7 for row in range(600)]
    for packed in (False, True):
        folder = tmp_path / str(packed)
        folder.mkdir()
        parts = all_parts(source(write_idx(folder, {None: (images, labels)}, packed=packed)))
        assert len(parts) == 3
        items = [list(part.items()) for part in reversed(parts)]
        rows = [item for part in reversed(items) for item in part]
        assert [item.key for item in rows] == [f"{row:09d}" for row in range(600)]
        assert [item.label for item in rows] == [str(label) for label in labels]
        assert np.array_equal(np.stack([as_pixels(item) for item in rows]), images)


def header(*sizes: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "early"),
        (b"\0\0\x08", "early"),
        (header(2, 4, 4, kind=13) + bytes(128), "it starts with 00000d03"),
        (header(2, 4, 4)[:9], "early"),
        (header(2, 4, 4) + bytes(31), "damaged"),
        (header(2, 4, 4) + bytes(33), "damaged"),
        (header(1 << 31, 4, 4) + bytes(32), "damaged|max_files"),
        (header(2, 1 << 31, 1 << 31) + bytes(32), "damaged|max_pixels"),
        (header(0, 4, 4), r"the shape \[0, 4, 4\]"),
        (header(32), r"the shape \[32\]|damaged"),
        (header(2, 5, 5, 2) + bytes(100), "has no dimension for channels"),
        (header(2, 4, 4, 3) + bytes(96), "could have its channels first or last"),
        (header(3, 4, 4) + bytes(48), "2 labels for the 3 images"),
    ],
)
def test_lying_and_damaged_files_are_one_line(content: bytes, found: str, packed: bool, tmp_path: Path) -> None:
    images, labels = idx_bytes(noise(0, 2, 4, 4)), idx_bytes(np.array([0, 1], np.uint8))
    suffix = ".gz" if packed else ""
    (tmp_path / f"{LABELS}{suffix}").write_bytes(gzip.compress(labels) if packed else labels)
    (tmp_path / f"{IMAGES}{suffix}").write_bytes(gzip.compress(images) if packed else images)
    assert len(usable(source(tmp_path))) == 2
    (tmp_path / f"{IMAGES}{suffix}").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError, match=found) as caught:
        all_items(source(tmp_path))
    assert str(caught.value).startswith(f"data.source={tmp_path}: ")


def test_a_file_that_is_no_gzip_is_told(tmp_path: Path) -> None:
    (tmp_path / f"{IMAGES}.gz").write_bytes(idx_bytes(noise(0, 2, 4, 4)))
    with pytest.raises(UserError, match=r"ubyte\.gz is damaged \(Not a gzipped file"):
        all_items(source(tmp_path))


def test_a_file_that_goes_away_or_shrinks_after_it_was_looked_at_is_told(tmp_path: Path) -> None:
    path = tmp_path / IMAGES
    path.write_bytes(idx_bytes(noise(0, 2, 4, 4)))
    (part,) = all_parts(source(tmp_path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="it ends 1 bytes early"):
        list(part.items())
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        list(part.items())


def test_images_with_channels_first_are_turned(tmp_path: Path) -> None:
    images = noise(0, 2, 3, 8, 9)
    (tmp_path / "images-idx4-ubyte").write_bytes(idx_bytes(images))
    assert np.array_equal(
        np.stack([as_pixels(item) for item in usable(source(tmp_path))]), images.transpose(0, 2, 3, 1)
    )
