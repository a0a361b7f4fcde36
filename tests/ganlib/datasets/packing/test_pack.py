"""Packing: the same bytes for the same images, stable splits, nothing lost on failure."""

import csv
import hashlib
import shutil
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from ganlib.datasets.cleaning.hashing import picture_sha256
from ganlib.datasets.packed.manifest import Manifest
from ganlib.datasets.packed.reading import open_packed
from ganlib.datasets.packing.survey import survey
from ganlib.datasets.sources.opening import most_images
from ganlib.errors import UserError
from ganlib.events import Event, Notice, Progress
from tests.ganlib.datasets.image_files import (
    contents,
    data_options,
    encode,
    noise,
    noise_files,
    pack_images,
    preprocess_options,
    write_folder,
    write_zip,
)


def packed_bytes(source: Path, **changes: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as out:
        pack_images(data_options(source, **changes), Path(out) / "processed")
        return contents(Path(out) / "processed")


def split_of(folder: Path) -> dict[bytes, str]:
    data = open_packed(folder)
    return {
        image.tobytes(): split.name for split in (data.train, data.test) for image in split.take(np.arange(len(split)))
    }


def test_everything_written_follows_from_its_definition(tmp_path: Path) -> None:
    files = noise_files(40)
    manifest = pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out")
    data = open_packed(tmp_path / "out")
    sides = split_of(tmp_path / "out")
    for split in (data.train, data.test):
        # In the order of class and name.
        numbers = [n for k in (0, 1) for n in range(k, 40, 2) if sides[noise(n).tobytes()] == split.name]
        pixels = np.stack([noise(n) for n in numbers])[..., None]
        summary = manifest.splits[split.name]
        assert split.labels is not None
        assert (split.take(np.arange(len(split))) == pixels).all()
        assert split.labels.tolist() == [n % 2 for n in numbers]
        assert summary.images == sum(summary.shards) == len(numbers)
        assert summary.per_class == {f"class{k}": sum(n % 2 == k for n in numbers) for k in (0, 1)}
        np.testing.assert_allclose(summary.pixel_mean, [pixels.mean()], rtol=1e-12)
        np.testing.assert_allclose(summary.pixel_std, [pixels.std()], rtol=1e-12)
    assert manifest == data.manifest
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()
    assert (tmp_path / "out" / "quarantine.csv").read_text() == "name,kind,action,detail\n"


def test_digests_follow_content_not_shards(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "images", noise_files(40))

    def digests(**changes: Any) -> tuple[str, str]:
        manifest = Manifest.model_validate_json(packed_bytes(source, **changes)["manifest.json"])
        return manifest.train.digest, manifest.test.digest

    assert digests(shard_images=1) == digests(shard_images=1000)
    assert set(digests()).isdisjoint(digests(image_size=32))
    (source / "class0").rename(source / "class2")
    assert set(digests()).isdisjoint(digests(channels=3))


def test_new_images_never_move_old_ones_and_change_few_shards(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    pack_images(data_options(write_folder(tmp_path / "images", noise_files(600))), few)
    pack_images(data_options(write_folder(tmp_path / "images", noise_files(10, first=600))), many)
    assert len(split_of(few)) == 600
    assert len(split_of(many)) == 610
    assert split_of(few).items() <= split_of(many).items()
    before, after = ({hashlib.sha256(p.read_bytes()).digest() for p in out.glob("t*-0*.npy")} for out in (few, many))
    assert len(before) > 50
    assert len(after - before) <= 8  # the last of each class, and a few that were cut elsewhere


def test_the_share_is_held_out(tmp_path: Path) -> None:
    manifest = pack_images(data_options(write_folder(tmp_path / "images", noise_files(500))), tmp_path / "out")
    assert 115 <= manifest.test.images <= 185  # 150 expected; four standard deviations are 41


def test_a_split_of_the_sources_own(tmp_path: Path) -> None:
    files = {
        f"{'test' if n < 12 else 'train'}/{name}": content for n, (name, content) in enumerate(noise_files(40).items())
    }
    source = write_folder(tmp_path / "images", files)
    manifest = pack_images(data_options(source), tmp_path / "own")
    assert (manifest.train.images, manifest.test.images) == (28, 12)
    assert manifest.image.classes == ("class0", "class1")
    by_hash = pack_images(data_options(source, split="hash"), tmp_path / "hash")
    plain = pack_images(data_options(write_folder(tmp_path / "plain", noise_files(40))), tmp_path / "plain_out")
    assert by_hash.test.images == plain.test.images


def test_unusable_files_are_listed(tmp_path: Path) -> None:
    files = noise_files(20)
    bad = {
        "class0/empty.png": (b"", "empty"),
        "class0/text.png": (b"text", "not_an_image"),
        "class1/cut.png": (encode(noise(0))[:60], "truncated"),
        "class1/big.png": (encode(np.zeros((400, 400), np.uint8)), "too_large"),
        "class1/labels.csv": (b"a,b", "companion"),
        'class1/quo"te,comma.txt': (b"", "companion"),
        "class1/zz_again.png": (files["class0/0000.png"], "exact_duplicate"),
    }
    events: list[Event] = []
    source = write_zip(tmp_path / "images.zip", files | {name: content for name, (content, _) in bad.items()})
    manifest = pack_images(data_options(source), tmp_path / "out", on_event=events.append)
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["name", "kind", "action", "detail"]
    assert [(name, kind, action) for name, kind, action, _ in rows[1:]] == [
        (name, bad[name][1], "skip" if bad[name][1] == "companion" else "drop") for name in sorted(bad)
    ]
    assert all(detail for *_, detail in rows[1:])
    assert "class0/0000.png, there in class class0" in rows[-1][-1]
    assert (manifest.files, manifest.dropped) == (25, 5)
    assert manifest.cases["not_an_image"] == {"drop": 1}
    assert manifest.cases["companion"] == {"skip": 2}
    assert manifest.train.images + manifest.test.images == len(files)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert any("5 of 25 files left out" in text and "class0/empty.png: " in text for text in notices)
    assert any("1 of these are exact duplicates: train.class_balanced=true shows" in text for text in notices)
    assert any("2 more files are no images and not counted, such as class1/labels.csv" in text for text in notices)
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].seen_images == progress[-1].total_images == 25


def test_every_image_is_used_or_counted_as_left_out(tmp_path: Path) -> None:
    """Captions and notes are beside the count; of two members with one name each is in it."""
    files = noise_files(30)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in files.items():
            archive.writestr(name, content)
            archive.writestr(f"{name[:-4]}.txt", "a caption")
        for name in [*list(files)[:5], *list(files)[:5]]:
            archive.writestr(name, b"the same name again")
        archive.writestr("README", "notes")
    manifest = pack_images(data_options(tmp_path / "images.zip"), tmp_path / "out")
    assert manifest.train.images + manifest.test.images == 30
    assert (manifest.files, manifest.dropped) == (40, 10)
    # By its name, the file of notes may be an image.
    assert most_images(data_options(tmp_path / "images.zip")) == (41, False)
    assert manifest.cases == {"companion": {"skip": 31}, "unsafe_name": {"drop": 10}}


def test_images_that_are_not_read_are_no_companions(tmp_path: Path) -> None:
    files = noise_files(10) | {f"class0/{n}.heic": b"\0\0\0\x18ftypheic" + bytes(n) for n in range(11)}
    with pytest.raises(UserError, match=r"^data\.source=.*: 11 of 21 files are left out, .*HEIC, .*magick mogrify"):
        pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out")


def test_one_class_alone_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    files = noise_files(20, classes=1)
    pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out", on_event=events.append)
    assert any(
        "in the one class class0; if that is no class" in event.text for event in events if isinstance(event, Notice)
    )


def photo(seed: int) -> np.ndarray:
    """A smooth picture, as photos are, 48 x 48."""
    return np.kron(np.random.default_rng(seed).integers(40, 200, (6, 6), dtype=np.uint8), np.ones((8, 8), np.uint8))


def test_near_duplicates(tmp_path: Path) -> None:
    files = {f"{n:02d}.png": encode(photo(n)) for n in range(20)}
    files["50.png"] = encode(photo(3) + 2)  # a little brighter
    source = write_folder(tmp_path / "images", files)
    kept = pack_images(data_options(source, split="hash"), tmp_path / "kept")
    assert kept.cases == {"near_duplicate": {"keep": 1}}
    assert "0 of 256 bits from " in (tmp_path / "kept" / "quarantine.csv").read_text()
    dropped = pack_images(data_options(source, policy={"near_duplicate": "drop"}), tmp_path / "dropped")
    assert (dropped.dropped, dropped.train.images + dropped.test.images) == (1, 20)
    with pytest.raises(UserError, match=r"=fail: (03|50)\.png: 0 of 256 bits from (03|50)\.png.*; remove one of them"):
        pack_images(data_options(source, policy={"near_duplicate": "fail"}), tmp_path / "failed")


@pytest.mark.parametrize(("policy", "across"), [("keep", 6), ("drop", 0)])
def test_near_duplicates_across_the_split_are_counted(
    tmp_path: Path, policy: Literal["keep", "drop"], across: int
) -> None:
    """Six test pictures are brighter training pictures; two more are alike, but both held out."""
    files = {f"train/{n:02d}.png": encode(photo(n)) for n in range(20)}
    files |= {f"test/{n:02d}.png": encode(photo(n) + 2) for n in range(6)}
    files |= {f"test/{n:02d}.png": encode(photo(40) + n) for n in (40, 42)}
    source = write_folder(tmp_path / "images", files)
    options = data_options(source, split="source", policy={"near_duplicate": policy})
    with survey(options, preprocess_options(), tmp_path / "scratch") as found:
        assert found.near_across == across
        told = f"{across} of 8 held-out pictures have a near duplicate in the training split"
        assert found.overlap is None if across == 0 else found.overlap.startswith(told)


def test_images_on_both_sides_leave_the_test_split(tmp_path: Path) -> None:
    files = {f"train/{name}": content for name, content in noise_files(20).items()}
    files |= {f"test/{name}": content for name, content in noise_files(10, first=15).items()}
    manifest = pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out")
    assert (manifest.train.images, manifest.test.images) == (20, 5)
    assert manifest.cases == {"split_overlap": {"drop": 5}}


def test_tiles_of_a_picture_stay_together(tmp_path: Path) -> None:
    files = {f"{n}.png": encode(noise(n, 40, 52)) for n in range(12)}
    manifest = pack_images(data_options(write_folder(tmp_path / "images", files), fit="tile"), tmp_path / "out")
    assert manifest.train.images + manifest.test.images == 12 * 2 * 3
    assert manifest.test.images % 6 == 0
    assert manifest.files == 12


def test_duplicates_are_left_out_with_all_their_tiles(tmp_path: Path) -> None:
    pictures = [
        np.kron(photo(n), np.ones((1, 2), np.uint8)) for n in range(12)
    ]  # six tiles of 16 x 16 a row, three rows
    files = {f"{n:02d}.png": encode(picture) for n, picture in enumerate(pictures)}
    files |= {"50.png": files["03.png"], "51.png": encode(pictures[4] + 2), "99.png": encode(pictures[5])}
    source = write_folder(tmp_path / "images", files)
    options = data_options(source, fit="tile", policy={"near_duplicate": "drop"}, cleaning={"min_std": 0.0})
    manifest = pack_images(options, tmp_path / "out")
    assert manifest.cases == {"exact_duplicate": {"drop": 2}, "near_duplicate": {"drop": 1}}
    assert manifest.train.images + manifest.test.images == 12 * 18


def held_out(number: int, share: float = 0.3) -> bool:
    """Whether the hash of this image alone puts it into the test split."""
    return int.from_bytes(picture_sha256(noise(number))[:8], "big") < share * 2**64


MISTAKES: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "too many unreadable": (
        noise_files(8) | {f"class0/bad{n}.png": b"bad" for n in range(9)},
        {},
        r"9 of 17 files are left out.*max_dropped_share=0\.5; first: class0/bad0\.png: no known format",
    ),
    "none tolerated": (
        noise_files(20) | {"class0/x.png": b""},
        {"cleaning": {"max_dropped_share": 0.0}},
        "1 of 21 files",
    ),
    "nothing readable": ({"a/x.png": b"", "a/y.png": b""}, {}, "2 files, none of them a usable image"),
    "a policy that fails": (
        noise_files(20) | {"class0/x.png": b""},
        {"policy": {"empty": "fail"}},
        "policy.empty=fail",
    ),
    "one image": (noise_files(1), {}, "of 1 images fall into the"),
    "empty test split": (noise_files(20), {"test_share": 1e-9}, r"0 of 20 images .* or change data\.test_share=1e-09$"),
    "a small test split of its own": (
        {f"train/{name}": content for name, content in noise_files(9).items()}
        | {"test/class0/x.png": encode(noise(9))},
        {},
        "1 of 10 images fall into the test split, expected at least 2; add images$",
    ),
    "one training image": (noise_files(20, classes=1), {"test_share": 0.999999}, "1 of 20 images fall into the train"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line_and_leave_the_previous_output(tmp_path: Path, mistake: str) -> None:
    files, changes, message = MISTAKES[mistake]
    out = tmp_path / "out"
    pack_images(data_options(write_folder(tmp_path / "good", noise_files(12))), out)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        pack_images(data_options(write_folder(tmp_path / "bad", files), **changes), out)
    assert "\n" not in str(caught.value)
    shutil.rmtree(tmp_path / "bad")
    assert contents(tmp_path) == before
    open_packed(out)


def test_of_each_class_one_picture_trains_and_others_stay_where_their_hashes_put_them(tmp_path: Path) -> None:
    classes = {f"pair{n}": [2 * n, 2 * n + 1] for n in range(20)}
    lone, trained = next(n for n in range(100, 200) if held_out(n)), next(n for n in range(200, 300) if not held_out(n))
    classes |= {"lone": [lone], "other": [trained]}
    moved = {
        max(numbers, key=lambda n: picture_sha256(noise(n)))
        for numbers in classes.values()
        if all(map(held_out, numbers))
    }
    assert len(moved) > 1

    def sides(name: str) -> dict[int, str]:
        files = {f"{label}/{n}.png": encode(noise(n)) for label, numbers in classes.items() for n in numbers}
        pack_images(data_options(write_folder(tmp_path / name, files)), tmp_path / f"{name}_out")
        found = split_of(tmp_path / f"{name}_out")
        return {n: found[noise(n).tobytes()] for numbers in classes.values() for n in numbers}

    before = sides("before")
    assert before == {n: "test" if held_out(n) and n not in moved else "train" for n in before}
    # With more to train on, the hash decides again; nothing else moves.
    classes["lone"].append(next(n for n in range(300, 400) if not held_out(n)))
    after = sides("after")
    assert {n for n in before if before[n] != after[n]} == {lone}


@pytest.mark.parametrize("content", [b"bad", b"", bytes(10**6)])
def test_a_class_of_which_no_file_can_be_used_ends_it(content: bytes, tmp_path: Path) -> None:
    files = noise_files(20) | {f"cow/{n}.png": content for n in range(2)}
    for source in (write_folder(tmp_path / "a", files), write_zip(tmp_path / "a.zip", files)):
        with pytest.raises(UserError, match=r"of 1 of 3 classes: cow \(of 2 files 0 held out, the others unusable\);"):
            pack_images(data_options(source, limits={"max_file_bytes": 10_000}), tmp_path / "out")


def test_a_class_whose_folder_is_a_link_ends_it(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "images", noise_files(20))
    (source / "cow").symlink_to(write_folder(tmp_path / "cows", {"1.png": encode(noise(50))}))
    with pytest.raises(UserError, match=r"of 1 of 3 classes: cow \(of 1 files"):
        pack_images(data_options(source), tmp_path / "out")


def test_a_class_that_the_source_only_holds_out_ends_it(tmp_path: Path) -> None:
    files = {f"train/{name}": content for name, content in noise_files(8).items()}
    files |= {f"test/{name}": content for name, content in noise_files(9, first=8, classes=3).items()}
    message = r"classes: class2 \(of 3 files 3 held out, the others unusable\); .*, or set data\.split=hash$"
    with pytest.raises(UserError, match=message):
        pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out")


def test_classes_whose_names_look_alike_are_told(tmp_path: Path) -> None:
    events: list[Event] = []
    labels = ("Cat", "cat ", "\ufb01sh", "fish", "dog")
    files = {f"{label}/{n}.png": encode(noise(10 * k + n)) for k, label in enumerate(labels) for n in range(4)}
    pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out", on_event=events.append)
    told = [event.text for event in events if isinstance(event, Notice) and "different" in event.text]
    assert [text.partition(" are taken")[0] for text in told] == [
        "the classes 'Cat' and 'cat '",
        "the classes 'fish' and '\ufb01sh'",
    ]


def test_a_class_without_test_images_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    files = {f"test/{name}": content for name, content in noise_files(8).items()}
    files |= {f"train/{name}": content for name, content in noise_files(9, first=8, classes=3).items()}
    pack_images(data_options(write_folder(tmp_path / "images", files)), tmp_path / "out", on_event=events.append)
    assert any("no test image of class2 (1 of 3 classes)" in e.text for e in events if isinstance(e, Notice))


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
            pack_images(data_options(source), destination)
    assert contents(thesis) == {"chapter1.txt": b"..."}


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    def peak_bytes(count: int) -> int:
        files = {f"{n:04d}.ppm": encode(noise(n, 32, 32, 3), "PPM") for n in range(count)}
        source = write_folder(tmp_path / f"images{count}", files)
        del files
        tracemalloc.start()
        pack_images(data_options(source, image_size=32, channels=3), tmp_path / f"out{count}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(30)
    # Names and hashes may, some 500 bytes; the pixels of one image are 3,072 bytes.
    assert peak_bytes(2600) - peak_bytes(1300) < 1300 * 1000
