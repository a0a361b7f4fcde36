"""The memory-mapped reader against plain numpy, and damaged folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.errors import UserError
from tests.ganlib.datasets.image_files import (
    data_options,
    encode,
    noise,
    noise_files,
    pack_images,
    write_folder,
)

COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    source = write_folder(root / "images", noise_files(COUNT))
    pack_images(data_options(source), root / "processed")
    return root / "processed"


@pytest.fixture(scope="module")
def data(folder: Path) -> PackedData:
    return open_packed(folder)


def whole(folder: Path, split: str) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob(f"{split}-0*.npy"))])


def test_both_splits_whole(folder: Path, data: PackedData) -> None:
    assert len(data.train) + len(data.test) == COUNT
    assert data.image.classes == ("class0", "class1")
    for split in (data.train, data.test):
        assert split.labels is not None
        assert len(list(folder.glob(f"{split.name}-0*.npy"))) == len(data.manifest.splits[split.name].shards)
        assert (split.take(np.arange(len(split))) == whole(folder, split.name)).all()
        assert (split.labels == np.load(folder / f"{split.name}-labels.npy")).all()
        assert split.digest == data.manifest.splits[split.name].digest


@given(picks=st.lists(st.integers(0, 10**6), max_size=60))
def test_take_keeps_the_order_asked(folder: Path, data: PackedData, picks: list[int]) -> None:
    indices = np.array(picks, dtype=np.int64) % len(data.train)
    taken = data.train.take(indices)
    assert type(taken) is np.ndarray
    assert taken.shape == (len(picks), 16, 16, 1)
    assert (taken == whole(folder, "train")[indices]).all()


@pytest.mark.parametrize("bad", [-1, COUNT])
def test_take_refuses_what_is_not_there(data: PackedData, bad: int) -> None:
    with pytest.raises(IndexError):
        data.train.take(np.array([0, bad]))


def test_labels_go_with_their_images(data: PackedData) -> None:
    def check(split: Split) -> None:
        assert split.labels is not None
        for n in range(COUNT):
            found = np.flatnonzero((split.take(np.arange(len(split)))[..., 0] == noise(n)).all(axis=(1, 2)))
            assert (split.labels[found] == n % 2).all()

    check(data.train)
    check(data.test)


def test_maps_hold_no_file_open(folder: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    data = [open_packed(folder) for _ in range(5)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert len(data[0].train.take(np.arange(3))) == 3


def test_unlabelled(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "images", {f"{n}.png": encode(noise(n)) for n in range(20)})
    pack_images(data_options(source, channels=3), tmp_path / "out")
    data = open_packed(tmp_path / "out")
    assert data.image.classes == ()
    assert data.train.labels is None
    assert data.train.take(np.array([1, 0])).shape == (2, 16, 16, 3)
    assert not list((tmp_path / "out").glob("*labels*"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no folder": lambda f: f.rename(f.with_name("elsewhere")),
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "manifest is no JSON": lambda f: truncate(f / "manifest.json"),
    "another format": lambda f: (f / "manifest.json").write_text(
        (f / "manifest.json").read_text().replace('"format_version": 3', '"format_version": 1')
    ),
    "no shard": lambda f: (f / "train-00001.npy").unlink(),
    "a short shard": lambda f: truncate(f / "train-00001.npy"),
    "an empty shard": lambda f: (f / "test-00000.npy").write_bytes(b""),
    "a long shard": lambda f: (f / "train-00001.npy").write_bytes((f / "train-00001.npy").read_bytes() + b"x"),
    "another version": lambda f: (f / "train-00001.npy").write_bytes(b"\x93NUMPY\x02\x00" + bytes(200)),
    "a shard of another size": lambda f: np.save(f / "train-00000.npy", np.zeros((3, 8, 8, 1), np.uint8)),
    "a pickle": lambda f: np.save(f / "train-00000.npy", np.array([{}], dtype=object), allow_pickle=True),
    "no labels": lambda f: (f / "test-labels.npy").unlink(),
    "a label too high": lambda f: np.save(
        f / "test-labels.npy", np.full_like(np.load(f / "test-labels.npy"), 2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_says_what_to_run(tmp_path: Path, folder: Path, damage: str) -> None:
    copy = tmp_path / "processed"
    write_folder(copy, {path.name: path.read_bytes() for path in folder.iterdir()})
    open_packed(copy)
    DAMAGE[damage](copy)
    with pytest.raises(UserError) as caught:
        open_packed(copy)
    assert "run the preprocess stage" in str(caught.value)
    assert "\n" not in str(caught.value)
