"""What holds for every array, shard and table format."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.config import DataOptions
from ganlib.datasets.files.folder import Folder, SingleFile
from ganlib.datasets.files.opening import open_files
from ganlib.datasets.files.zip import Zip
from ganlib.datasets.items import Files, Source
from ganlib.datasets.sources.cifar import CifarSource
from ganlib.datasets.sources.idx import IdxSource
from ganlib.datasets.sources.npz import NpzSource
from ganlib.datasets.sources.opening import open_source
from ganlib.datasets.sources.parquet import ParquetSource
from ganlib.datasets.sources.webdataset import WebDatasetSource
from ganlib.errors import UserError
from tests.ganlib.datasets.array_files import LAYOUTS, Sets, all_items, all_parts, as_pixels, mistake, usable, zip_of
from tests.ganlib.datasets.image_files import data_options, noise

KINDS: dict[str, Callable[[Files, DataOptions], Source]] = {
    "idx": IdxSource,
    "npz": NpzSource,
    "npy": NpzSource,
    "cifar": CifarSource,
    "parquet": ParquetSource,
    "webdataset": WebDatasetSource,
}
FORMATS = [name for name in LAYOUTS if name.split()[0].split(".")[0].removesuffix("100") in KINDS]
FOLDER_FORMATS = [name for name in FORMATS if name != "cifar tar.gz"]


def files_at(location: Path) -> Files:
    return Folder(str(location), 1000) if location.is_dir() else SingleFile(str(location))


def opened(name: str, location: Path, files: Files | None = None, **changes: Any) -> Source:
    kind = KINDS[name.split()[0].split(".")[0].removesuffix("100")]
    return kind(files or files_at(location), data_options(location, **changes))


def sets_of(shape: tuple[int, ...], count: int, *, split: bool = False) -> Sets:
    images = noise(count, count, *shape)
    labels = [int(image.flat[0]) % 3 for image in images]
    if not split:
        return {None: (images, labels)}
    return {"train": (images[2:], labels[2:]), "test": (images[:2], labels[:2])}


@pytest.mark.parametrize("name", FOLDER_FORMATS)
@settings(max_examples=3)
@given(data=st.data())
def test_images_and_labels_come_back_in_order(name: str, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(LAYOUTS[name].shapes))
    sets = sets_of(shape, data.draw(st.integers(1, 12)))
    images, labels = sets[None]
    assert labels is not None
    with TemporaryDirectory() as folder:
        items = usable(opened(name, LAYOUTS[name].write(Path(folder), sets)))
    assert [item.key for item in items] == [f"{row:09d}" for row in range(len(images))]
    assert [item.label for item in items] == [str(label) for label in labels]
    assert {item.split for item in items} == {None}
    assert len({item.name for item in items}) == len(items)
    for item, image in zip(items, images, strict=True):
        assert np.array_equal(as_pixels(item).reshape(shape), image)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_what_a_source_is_shows_in_its_files(name: str, split: bool, tmp_path: Path) -> None:
    source = LAYOUTS[name].write(tmp_path, sets_of(LAYOUTS[name].shapes[0], 5, split=split))
    found = open_source(data_options(source))
    assert type(found) is type(opened(name, source))
    assert len(usable(found)) == 5


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_splits_are_the_sources_own_or_in_the_keys(name: str, tmp_path: Path) -> None:
    sets = sets_of(LAYOUTS[name].shapes[0], 7, split=True)
    source = LAYOUTS[name].write(tmp_path, sets)
    found = {(item.split, item.key): as_pixels(item) for item in usable(opened(name, source))}
    assert set(found) == {("train", f"{row:09d}") for row in range(5)} | {("test", f"{row:09d}") for row in range(2)}
    for (split, key), pixels in found.items():
        assert np.array_equal(pixels.reshape(sets[split][0].shape[1:]), sets[split][0][int(key)])
    by_hash = usable(opened(name, source, split="hash"))
    assert {item.key for item in by_hash} == {key for _, key in found}
    assert {item.split for item in by_hash} == {None}


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_labels_are_left_out_where_nobody_wants_them_and_are_no_table(name: str, tmp_path: Path) -> None:
    source = LAYOUTS[name].write(tmp_path, sets_of(LAYOUTS[name].shapes[0], 5))
    assert {item.label for item in usable(opened(name, source, labels="none"))} == {None}
    with pytest.raises(UserError, match=r"^data\.labels=labels\.csv: found .*; expected auto .* or none$"):
        all_items(opened(name, source, labels="labels.csv"))


@pytest.mark.parametrize("name", [name for name in FOLDER_FORMATS if not name.startswith("cifar")])
def test_sources_without_labels_are_unlabelled_and_half_labelled_ones_refused(name: str, tmp_path: Path) -> None:
    sets = sets_of(LAYOUTS[name].shapes[0], 6, split=True)
    plain, half = tmp_path / "plain", tmp_path / "half"
    for folder in (plain, half):
        folder.mkdir()
    without: Sets = {split: (images, None) for split, (images, _) in sets.items()}
    items = usable(opened(name, LAYOUTS[name].write(plain, without)))
    assert len(items) == 6
    assert {item.label for item in items} == {None}
    source = LAYOUTS[name].write(half, {"train": sets["train"], "test": without["test"]})
    with pytest.raises(UserError, match=r"^data\.source=.*expected"):
        all_items(opened(name, source))


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_identities_change_with_the_content_and_with_what_items_are_called(name: str, tmp_path: Path) -> None:
    sets = sets_of(LAYOUTS[name].shapes[0], 6, split=True)
    source = LAYOUTS[name].write(tmp_path, sets)
    first = [part.identity for part in all_parts(opened(name, source))]
    assert first == [part.identity for part in all_parts(opened(name, source))]
    assert len(set(first)) == len(first)
    for changes in ({"split": "hash"}, {"labels": "none"}):
        assert set(first).isdisjoint(part.identity for part in all_parts(opened(name, source, **changes)))
    LAYOUTS[name].write(tmp_path, sets)
    assert set(first).isdisjoint(part.identity for part in all_parts(opened(name, source)))


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_more_images_than_may_be_are_refused(name: str, tmp_path: Path) -> None:
    source = LAYOUTS[name].write(tmp_path, sets_of(LAYOUTS[name].shapes[0], 6))
    with pytest.raises(UserError, match=r"data\.limits\.max_files=5"):
        all_items(opened(name, source, limits={"max_files": 5}))


@pytest.mark.parametrize("name", [name for name in FOLDER_FORMATS if not name.startswith("webdataset")])
def test_members_of_a_zip_are_read_as_files_are(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    source = LAYOUTS[name].write(tmp_path / "folder", sets_of(LAYOUTS[name].shapes[0], 6, split=True))
    packed = zip_of(tmp_path / "folder", tmp_path / "all.zip")
    expected = usable(opened(name, source))
    found = usable(opened(name, packed, Zip(str(packed), 1000, "")))
    assert [(item.key, item.label, item.split) for item in found] == [
        (item.key, item.label, item.split) for item in expected
    ]
    assert all(np.array_equal(as_pixels(one), as_pixels(other)) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_a_file_cut_off_anywhere_is_one_line(name: str, tmp_path: Path) -> None:
    source = LAYOUTS[name].write(tmp_path, sets_of(LAYOUTS[name].shapes[0], 6))
    largest = max((path for path in tmp_path.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    # A tar ends with more zeros than it needs.
    whole = largest.read_bytes().rstrip(b"\0")
    for share in np.linspace(0, 1, 9):
        largest.write_bytes(whole[: int(share * (len(whole) - 1))])
        found = mistake(opened(name, source))
        assert found is not None
        assert found.startswith(f"data.source={source}")
        assert "\n" not in found


@pytest.mark.parametrize("name", FOLDER_FORMATS)
def test_damaged_bytes_are_one_line_or_other_images(name: str, tmp_path: Path) -> None:
    source = LAYOUTS[name].write(tmp_path, sets_of(LAYOUTS[name].shapes[0], 4))
    random = np.random.default_rng(0)
    files = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    for _ in range(25):
        for path, content in files.items():
            damaged = bytearray(content)
            # Headers are where it hurts: at the beginning and at the end.
            near = int(random.choice([16, 64, 256, len(content)]))
            place = int(random.integers(0, min(near, len(content))))
            damaged[place if random.random() < 0.5 else -1 - place] = int(random.integers(0, 256))
            path.write_bytes(damaged)
        found = mistake(opened(name, source))
        assert found is None or (found.startswith("data.source=") and "\n" not in found)


@pytest.mark.parametrize("name", FORMATS)
def test_sources_behind_urls_are_read_as_folders_are(name: str, tmp_path: Path) -> None:
    source = LAYOUTS[name].write(tmp_path, sets_of(LAYOUTS[name].shapes[0], 6, split=True))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/arrays", recursive=True)
    try:
        url = f"memory://arrays/{'' if source.is_dir() else source.name}"
        found = usable(open_source(data_options(url)))
    finally:
        memory.rm("/arrays", recursive=True)
    expected = usable(opened(name, source, open_files(str(source), 1000)))
    assert [(item.name, item.key, item.label, item.split) for item in found] == [
        (item.name, item.key, item.label, item.split) for item in expected
    ]
    assert all(np.array_equal(as_pixels(one), as_pixels(other)) for one, other in zip(found, expected, strict=True))
