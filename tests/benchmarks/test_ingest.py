import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.children import run_child
from benchmarks.ingest import SECTIONS, Bench, hold_race, subset
from benchmarks.ingest_report import render
from benchmarks.measuring import Slot
from benchmarks.packers import pack_with
from benchmarks.pictures import IMAGE_SIZE, draw, image_files
from benchmarks.readers import batches_of
from benchmarks.scaling import index_rows, near_search
from benchmarks.updates import Project, add_images

pytestmark = pytest.mark.thorough

FILES = 120


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files") / "small"
    draw(folder, FILES, suffix=".jpg")
    return folder


@pytest.fixture(scope="module")
def packs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packs")
    for name in ("pil", "folder", "ours"):
        found = pack_with(name, images, folder / name, IMAGE_SIZE)
        assert found["images"] == FILES
        assert found["bytes"] > FILES * IMAGE_SIZE**2 * 3
    return {path.name: path for path in folder.iterdir()}


def pixels_of(arrays: Iterator[NDArray[np.uint8]]) -> set[bytes]:
    return {image.tobytes() for array in arrays for image in array}


def test_all_contenders_pack_the_same_pixels(packs: dict[str, Path]) -> None:
    names = {"pil": "images.npy", "folder": "images.npy", "ours": "t*-[0-9]*.npy"}
    pil, folder, ours = (pixels_of(np.load(path) for path in packs[name].glob(names[name])) for name in names)
    assert pil == folder == ours
    assert len(ours) == FILES


def test_all_contenders_read_the_training_images(images: Path, packs: dict[str, Path]) -> None:
    whole = pixels_of(np.load(path) for path in packs["ours"].glob("train-[0-9]*.npy"))
    for name in ("map", "ours"):
        batch = next(batches_of(name, images, packs["ours"]))
        assert batch.shape == (64, 3, IMAGE_SIZE, IMAGE_SIZE)
        pixels = ((batch + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        assert pixels_of(iter([pixels])) <= whole
    assert next(batches_of("folder", images, packs["ours"])).min() >= -1


def test_a_child_is_watched() -> None:
    count = 8_000_000
    done = run_child({"measure": "permutation", "count": count}, memory=True)
    assert done.result["seconds"] > 0
    assert done.processor_s > 0.05
    assert done.memory is not None
    assert done.memory.first_mib > 8 * count / 2**20
    assert done.memory.helper_mib == 0


def test_new_images_sort_as_they_should(images: Path, tmp_path: Path) -> None:
    folder = subset(images, tmp_path / "growing", FILES)
    names = [path.name for path in image_files(folder / "class3")]
    spread, last = (add_images(folder, naming, 20) for naming in ("random", "last"))
    assert len(image_files(folder)) == FILES + 40
    assert sorted(path.parent.name for path in last) == sorted(f"class{n % 10}" for n in range(20))
    assert all(path.name > max(names) for path in last)
    assert all(path.stem.rpartition("-")[0] in {each.stem for each in image_files(images)} for path in spread)


def test_what_dvc_pushes_is_counted(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    data = tmp_path / "project" / "data"
    data.mkdir()
    (data / "one.npy").write_bytes(b"1" * 5000)
    found = project.version(data)
    assert found["pushed_files"] == 2  # the list of the folder is one
    assert 5000 < found["pushed_bytes"] < 5500


def test_the_search_finds_what_was_planted_and_the_index_takes_bytes(tmp_path: Path) -> None:
    found = near_search(3000, most_bits=4)
    assert found["pairs"] == found["planted"] == 3
    assert index_rows(600, tmp_path)["bytes"] > 600 * 200


def test_every_section_has_its_text() -> None:
    race = hold_race(
        ("pil", "ours"), lambda name, at: (Slot(name, at, 10, 1.0 + (name == "pil"), 0.0), 0.5), 2, ("pil",)
    )
    assert race["times_as_fast_as"]["pil"]["ours"]["median"] == 2.0
    memory = {"all_mib": 3.0, "anonymous_mib": 2.0, "first_mib": 2.0, "helper_mib": 1.0}
    versioned = {"add_s": 1.0, "push_s": 1.0, "pushed_files": 3, "pushed_bytes": 40_000}
    grown = versioned | {"pack": {"seconds": 1.5, "files": 4, "bytes": 50_000, "images": 10}}
    timed = {"count": 10, "seconds": 1.0, "pairs": 1, "planted": 1, "peak_mib": 70.0, "bytes": 4000}
    steps = dict.fromkeys(("add", "settle", "duplicates", "in_order"), 0.5)
    results: dict[str, Any] = {
        "machine": {"kind": "a machine", "date": "today", "cores": 2},
        "pack": race,
        "photos": race,
        "read": race,
        "memory": [{"what": "10 small files", "contender": "ours", **memory}],
        "update": {"512": {"all": grown, "last": grown}, "raw": versioned},
        "scale": {
            "index": [timed | steps], "near": [timed], "permutation": [timed],
            "shards": [{"shards": 10, "open_s": 0.1, "batch_s": 0.1}],
        },
    }  # fmt: skip
    assert set(results) == {"machine", *SECTIONS}
    assert all(callable(getattr(Bench, section)) for section in SECTIONS)
    report = render(json.loads(json.dumps(results)))
    assert report.count("\n## ") == len(SECTIONS)
    assert "| `ours` | 10 (10–10) | × 2.00 (2.00–2.00; 2.00–2.00) | 50.000 |" in report
    assert "| 512 | last | 1.50 | 4 | 0.1 | 1.00 | 1.00 | 3 | 0.04 |" in report
