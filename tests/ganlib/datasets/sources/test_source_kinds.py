"""The same images give the same bytes, whatever they come in."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ganlib.datasets.packing.pack import pack
from tests.ganlib.datasets.array_files import LAYOUTS, Layout, Sets, png, write_tar, zip_of
from tests.ganlib.datasets.image_files import contents, data_options, preprocess_options, write_folder


def class_folders(sets: Sets) -> dict[str, bytes]:
    """`train/3/000000017.png`: with the names that rows of arrays have."""
    files = {}
    for split, (images, labels) in sets.items():
        for row, image in enumerate(images):
            parts = [part for part in (split, None if labels is None else str(labels[row])) if part is not None]
            files["/".join([*parts, f"{row:09d}.png"])] = png(image)
    return files


def write_plain_folder(folder: Path, sets: Sets) -> Path:
    return write_folder(folder, class_folders(sets))


def write_plain_zip(folder: Path, sets: Sets) -> Path:
    return zip_of(write_plain_folder(folder / "files", sets), folder / "images.zip")


def write_plain_tar(folder: Path, sets: Sets, mode: str) -> Path:
    suffix = mode.removeprefix("w:") if ":" in mode else ""
    # In another order than that of their names.
    files = dict(sorted(class_folders(sets).items(), key=lambda item: item[1]))
    return write_tar(folder / f"images.tar{suffix and '.' + suffix}", files, mode)


PLAIN = {
    "zip": Layout(write_plain_zip),
    "tar": Layout(lambda folder, sets: write_plain_tar(folder, sets, "w")),
    "tar.gz": Layout(lambda folder, sets: write_plain_tar(folder, sets, "w:gz")),
    "tar.xz": Layout(lambda folder, sets: write_plain_tar(folder, sets, "w:xz")),
}


def generated(seed: int, counts: Mapping[str | None, int], shape: tuple[int, ...]) -> Sets:
    random = np.random.default_rng(seed)
    return {
        split: (
            random.integers(0, 256, (count, *shape), dtype=np.uint8),
            [row % 3 if row < 3 else int(random.integers(3)) for row in range(count)],
        )
        for split, count in counts.items()
    }


def packed(layout: Layout, sets: Sets, **changes: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        (root := Path(scratch) / "source").mkdir()
        options = data_options(layout.write(root, sets), **changes)
        pack(options, preprocess_options(), Path(scratch) / "out", scratch=Path(scratch) / "scratch")
        return contents(Path(scratch) / "out")


@pytest.mark.parametrize("kind", [*PLAIN, *LAYOUTS])
@settings(max_examples=2, derandomize=True, phases=[Phase.generate])  # shrinking would take minutes
@given(
    seed=st.integers(0, 2**32 - 1),
    train=st.integers(12, 30),
    test=st.integers(5, 9),
    split=st.sampled_from(["source", "hash"]),
)
def test_every_kind_of_source_gives_the_same_bytes(kind: str, seed: int, train: int, test: int, split: str) -> None:
    sets = generated(seed, {"train": train, "test": test}, (32, 32, 3))
    changes = {"channels": 3, "image_size": 32, "split": split, "test_share": 0.4}
    expected = packed(Layout(write_plain_folder), sets, **changes)
    assert packed((PLAIN | LAYOUTS)[kind], sets, **changes) == expected
    assert {"manifest.json", "train-labels.npy", "test-labels.npy", "train-00000.npy"} <= expected.keys()
