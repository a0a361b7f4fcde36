"""Packing: the same bytes for the same images, stable splits, nothing lost on failure."""

import csv
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlib.config import DataOptions
from ganlib.datasets.manifest import Manifest
from ganlib.datasets.packed import open_packed
from ganlib.datasets.packing import pack
from ganlib.errors import UserError
from ganlib.events import Event, Notice, Progress
from tests.ganlib.datasets.image_files import (
    contents,
    data_options,
    encode,
    noise,
    noise_files,
    write_folder,
    write_zip,
)

IMAGES = [encode(noise(seed, 12, 20)) for seed in range(24)]


def packed_bytes(source: Path, **changes: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as out:
        pack(data_options(source, **changes), Path(out) / "processed")
        return contents(Path(out) / "processed")


@settings(max_examples=10)
@given(
    shuffle=st.randoms(use_true_random=False),
    count=st.integers(24, 36),
    labelled=st.booleans(),
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    shard_images=st.integers(1, 12),
)
def test_folder_and_zip_give_identical_bytes(
    shuffle: random.Random, count: int, labelled: bool, method: int, shard_images: int
) -> None:
    folders = ("a/", "b/", "b/deep/") if labelled else ("",)
    # Some contents occur twice under different names; some files are no images.
    files = {f"{folders[n % len(folders)]}{n}.png": IMAGES[n % len(IMAGES)] for n in range(count)}
    files |= {f"{folders[0]}broken.png": b"broken", f"{folders[-1]}notes.txt": b"text"}
    names = list(files)
    shuffle.shuffle(names)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write_folder(root / "folder", {name: files[name] for name in sorted(files)})
        write_zip(root / "images.zip", {name: files[name] for name in names}, method)
        from_folder = packed_bytes(root / "folder", shard_images=shard_images)
        assert from_folder == packed_bytes(root / "images.zip", shard_images=shard_images)
    assert from_folder["quarantine.csv"].count(b"\n") == 3


def test_everything_written_follows_from_its_definition(tmp_path: Path) -> None:
    files = noise_files(40)
    manifest = pack(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out")
    data = open_packed(tmp_path / "out")
    keyed = sorted((hashlib.sha256(content).hexdigest(), name) for name, content in files.items())
    for split, held_out in ((data.test, True), (data.train, False)):
        names = [name for sha256, name in keyed if (int(sha256[:16], 16) / 2**64 < 0.3) is held_out]
        numbers = [int(name[-8:-4]) for name in names]
        pixels = np.stack([noise(n) for n in numbers])[..., None]
        summary = manifest.splits[split.name]
        assert split.labels is not None
        assert (split.take(np.arange(len(split))) == pixels).all()
        assert split.labels.tolist() == [n % 2 for n in numbers]
        assert summary.images == len(names)
        assert summary.per_class == {f"class{k}": sum(n % 2 == k for n in numbers) for k in (0, 1)}
        np.testing.assert_allclose(summary.pixel_mean, [pixels.mean()], rtol=1e-12)
        np.testing.assert_allclose(summary.pixel_std, [pixels.std()], rtol=1e-12)
    assert manifest == data.manifest
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()
    assert (tmp_path / "out" / "quarantine.csv").read_text() == "name,reason\n"


def test_digests_follow_content_not_shards(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "images", noise_files(40))

    def digests(**changes: Any) -> tuple[str, str]:
        manifest = Manifest.model_validate_json(packed_bytes(source, **changes)["manifest.json"])
        return manifest.train.digest, manifest.test.digest

    assert digests(shard_images=1) == digests(shard_images=1000)
    assert set(digests()).isdisjoint(digests(image_size=32))
    (source / "class0").rename(source / "class2")
    assert set(digests()).isdisjoint(digests(channels=3))


def test_new_images_never_move_old_ones(tmp_path: Path) -> None:
    def split_of(count: int) -> dict[bytes, str]:
        out = tmp_path / f"out{count}"
        pack(data_options(write_folder(tmp_path / f"images{count}", noise_files(count))), out)
        data = open_packed(out)
        return {
            image.tobytes(): split.name
            for split in (data.train, data.test)
            for image in split.take(np.arange(len(split)))
        }

    few, many = split_of(30), split_of(75)
    assert len(few) == 30
    assert len(many) == 75
    assert few.items() <= many.items()


def test_unusable_files_are_listed(tmp_path: Path) -> None:
    files = noise_files(20)
    bad = {
        "class0/empty.png": b"",
        "class0/text.png": b"text",
        "class1/cut.png": encode(noise(0))[:60],
        "class1/big.png": encode(np.zeros((400, 400), np.uint8)),
        "class1/labels.csv": b"a,b",
        'class1/quo"te,comma.txt': b"",
    }
    events: list[Event] = []
    source = write_zip(tmp_path / "images.zip", files | bad)
    manifest = pack(data_options(source), tmp_path / "out", on_event=events.append)
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["name", "reason"]
    assert [name for name, _ in rows[1:]] == sorted(bad)
    assert all(reason for _, reason in rows[1:])
    assert manifest.quarantined == len(bad)
    assert manifest.train.images + manifest.test.images == len(files)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert any("6 files left out" in text and "class0/empty.png: an empty file" in text for text in notices)
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].seen_images == progress[-1].total_images == 24


def test_one_class_may_be_a_wrapper(tmp_path: Path) -> None:
    events: list[Event] = []
    source = write_folder(tmp_path / "images", {f"mydata/{name}": c for name, c in noise_files(20).items()})
    pack(data_options(source), tmp_path / "out", on_event=events.append)
    assert any(isinstance(event, Notice) and "one class 'mydata'" in event.text for event in events)


def lone_test_class() -> dict[str, bytes]:
    """Twenty images of one class, and a second class whose only image is held out."""
    held_out = next(n for n in range(100, 200) if hashlib.sha256(encode(noise(n))).digest()[0] < 0x40)
    return noise_files(20, classes=1) | {"rare/x.png": encode(noise(held_out))}


MISTAKES: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "too many unreadable": (
        noise_files(8) | {f"class0/bad{n}.png": b"bad" for n in range(9)},
        {},
        r"9 of 17 files are unusable.*max_unreadable_share=0\.5; first: class0/bad0\.png: not an image",
    ),
    "none tolerated": (noise_files(20) | {"x.txt": b""}, {"max_unreadable_share": 0.0}, "1 of 21 files"),
    "nothing readable": ({"a/x.png": b"", "a/y.png": b""}, {"max_unreadable_share": 1.0}, "2 of 2 files"),
    "empty test split": (noise_files(20), {"test_share": 1e-9}, r"data\.test_share=1e-09: 0 of 20 images"),
    "empty training split": (noise_files(20), {"test_share": 0.999999}, "fall into the training split"),
    "untrained class": (lone_test_class(), {}, r"no readable training image of rare \(1 of 2 classes\)"),
    "damaged class": (noise_files(20) | {"rare/x.png": b"bad"}, {}, "no readable training image of rare"),
    "too many shards": (noise_files(20), {"shard_images": 1}, r"data\.shard_images=1: makes \d+ shards"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_leave_the_previous_output(
    tmp_path: Path, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, changes, message = MISTAKES[mistake]
    out = tmp_path / "out"
    pack(data_options(write_folder(tmp_path / "good", noise_files(12))), out)
    before = contents(tmp_path)
    monkeypatch.setattr("ganlib.datasets.packing.MOST_SHARDS", 5)
    with pytest.raises(UserError, match=message) as caught:
        pack(data_options(write_folder(tmp_path / "bad", files), **changes), out)
    assert "\n" not in str(caught.value)
    shutil.rmtree(tmp_path / "bad")
    assert contents(tmp_path) == before
    open_packed(out)


def test_foreign_folders_are_not_replaced(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "images", noise_files(20))
    thesis = write_folder(tmp_path / "thesis", {"chapter1.txt": b"..."})
    for destination, message in (
        (thesis, "holds something other than packed data"),
        (thesis / "chapter1.txt", "holds something other than packed data"),
        (source, "overlaps"),
        (source / "processed", "overlaps"),
        (tmp_path, "overlaps"),
    ):
        with pytest.raises(UserError, match=message):
            pack(data_options(source), destination)
    assert contents(thesis) == {"chapter1.txt": b"..."}


def test_disk_full_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_folder(tmp_path / "images", noise_files(20))
    pack(data_options(source), tmp_path / "out")
    before = contents(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Manifest, "write", full)
    with pytest.raises(OSError, match="No space left"):
        pack(data_options(source, image_size=32), tmp_path / "out")
    assert contents(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from ganlib.config import DataOptions
from ganlib.datasets.packing import pack
from ganlib.events import Progress

def kill(event):
    if isinstance(event, Progress):
        os.kill(os.getpid(), signal.SIGKILL)

pack(DataOptions.model_validate_json(sys.argv[1]), Path(sys.argv[2]), on_event=kill)
"""


def test_killed_on_the_way(tmp_path: Path) -> None:
    source, out = write_folder(tmp_path / "images", noise_files(20)), tmp_path / "out"
    pack(data_options(source), out)
    before = contents(out)
    other: DataOptions = data_options(source, image_size=32)
    child = subprocess.run([sys.executable, "-c", KILLED, other.model_dump_json(), str(out)], check=False, timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert (tmp_path / ".out.partial").exists()
    assert contents(out) == before
    pack(other, out)
    assert json.loads(contents(out)["manifest.json"])["image"]["size"] == 32
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out"}


def test_memory_does_not_grow_with_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlib.datasets.packing._CHUNK_IMAGES", 16)

    def peak_bytes(count: int) -> int:
        files = {f"{n:04d}.ppm": encode(noise(n, 64, 64, 3), "PPM") for n in range(count)}
        source = write_folder(tmp_path / f"images{count}", files)
        del files
        tracemalloc.start()
        pack(data_options(source, image_size=64, channels=3, shard_images=10**6), tmp_path / f"out{count}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(10)
    # Names and hashes may; the pixels of one image are 12,288 bytes.
    assert peak_bytes(400) - peak_bytes(100) < 300 * 1000


@settings(max_examples=40)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6))
def test_a_damaged_zip_is_a_user_error_or_packed(flips: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        path = write_zip(root / "images.zip", {f"{n}.png": image for n, image in enumerate(IMAGES)})
        content = bytearray(path.read_bytes())
        for place, change in flips:
            # Most of the structure is at the end.
            content[-1 - place % 2500 if place % 3 else place % len(content)] ^= change
        path.write_bytes(content)
        message = ""
        try:
            pack(data_options(path), root / "out")
        except UserError as error:
            message = str(error)
        assert (root / "out").exists() is not bool(message)
        assert "\n" not in message
