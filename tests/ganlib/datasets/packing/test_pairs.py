"""Pairs of images: side by side or in two folders the same data, never parted, cropped alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ganlib.config import DataOptions
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.datasets.sources.opening import check_readable, is_labelled, open_source
from ganlib.degradations import inputs_of
from ganlib.errors import UserError
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.inputs import prepared
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from tests.configs import PAIRED, UNPAIRED, tiny_config
from tests.ganlib.datasets.image_files import (
    contents,
    data_options,
    encode,
    noise,
    pack_images,
    write_folder,
    write_zip,
)

LEFT = {"kind": "side_by_side", "input": "left"}
FOLDERS = {"kind": "folders", "input": "A", "output": "B"}
COUNT = 24


def wanted(number: int) -> NDArray[np.uint8]:
    return noise(number)


def given(number: int) -> NDArray[np.uint8]:
    """Follows from what is wanted, so that a pair can be told from two strangers."""
    return 255 - wanted(number)


def beside(*, reverse: bool = False) -> dict[str, bytes]:
    order = (wanted, given) if reverse else (given, wanted)
    return {f"{n:04d}.png": encode(np.hstack([each(n) for each in order])) for n in range(COUNT)}


def apart(pattern: str = "{side}/{n:04d}.png") -> dict[str, bytes]:
    sides = {"A": given, "B": wanted}
    return {
        pattern.format(side=side, n=n, role="train" if n % 3 else "test"): encode(make(n))
        for side, make in sides.items()
        for n in range(COUNT)
    }


def packed(options: DataOptions, folder: Path) -> PackedData:
    pack_images(options, folder)
    return open_packed(folder)


def everything(data: PackedData) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    found = {}
    for split in (data.train, data.test):
        rows = np.arange(len(split))
        found[split.name] = split.take(rows), split.take_inputs(rows)
    return found


def test_both_layouts_give_the_same_pairs_in_the_same_splits(tmp_path: Path) -> None:
    sources: dict[str, tuple[Path, dict[str, Any]]] = {
        "left": (write_folder(tmp_path / "left", beside()), LEFT),
        "right": (write_folder(tmp_path / "right", beside(reverse=True)), {**LEFT, "input": "right"}),
        "folders": (write_folder(tmp_path / "folders", apart()), FOLDERS),
        "zip": (write_zip(tmp_path / "pairs.zip", apart("around/{side}/{n:04d}.png")), FOLDERS),
    }
    found = {}
    for name, (source, inputs) in sources.items():
        data = packed(data_options(source, inputs=inputs), tmp_path / f"{name} packed")
        assert data.image.classes == ()
        assert data.manifest.paired
        found[name] = everything(data)
        for images, inputs_found in found[name].values():
            assert images.shape == inputs_found.shape == (len(images), 16, 16, 1)
            assert np.array_equal(inputs_found, 255 - images)
        assert sum(len(images) for images, _ in found[name].values()) == COUNT
        mean = np.concatenate([found[name]["train"][0]]).mean()
        np.testing.assert_allclose(data.manifest.train.pixel_mean, [mean], rtol=1e-12)  # of what is wanted alone
    for other in ("right", "folders", "zip"):
        for split, pair in found["left"].items():
            assert all(np.array_equal(one, two) for one, two in zip(pair, found[other][split], strict=True))


@pytest.mark.parametrize(
    "pattern", ["{side}/{role}/{n:04d}.png", "{role}/{side}/{n:04d}.png", "{role}{side}/{n:04d}.png"]
)
def test_folders_for_splits_hold_on_either_side(pattern: str, tmp_path: Path) -> None:
    data = packed(data_options(write_folder(tmp_path / "set", apart(pattern)), inputs=FOLDERS), tmp_path / "packed")
    held_out = everything(data)["test"][0]
    assert {image.tobytes() for image in held_out} == {wanted(n).tobytes() for n in range(0, COUNT, 3)}


def test_a_centre_square_is_that_of_both(tmp_path: Path) -> None:
    pixels = {n: noise(n, 16, 40) for n in range(8)}
    files = {f"{n}.png": encode(np.hstack([255 - image, image])) for n, image in pixels.items()}
    data = packed(data_options(write_folder(tmp_path / "set", files), inputs=LEFT), tmp_path / "packed")
    centres = {image[:, 12:28].tobytes() for image in pixels.values()}
    for images, inputs in everything(data).values():
        assert np.array_equal(inputs, 255 - images)
        assert {image.tobytes() for image in images} <= centres


def test_files_without_a_partner_are_listed_in_one_line(tmp_path: Path) -> None:
    files = apart()
    for n in range(7):
        del files[f"A/{n:04d}.png"]
    del files["B/0020.png"]
    options = data_options(write_folder(tmp_path / "set", files), inputs=FOLDERS)
    for look in (lambda: pack_images(options, tmp_path / "out"), lambda: check_readable(options)):
        with pytest.raises(UserError) as told:
            look()
        (line,) = str(told.value).splitlines()
        shown = ", ".join(f"B/{n:04d}.png" for n in range(5))
        assert f"7 of 23 files in B ({shown} and 2 more) and 1 of 17 files in A (A/0020.png)" in line
        assert line.endswith("expected each in B and in A; add or remove them")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"A/1.png": b"", "C/1.png": b""}, "found no image in a folder B; expected B and A in it"),
        ({"A/1.png": b"", "B/1.png": b"", "A/1.jpg": b""}, "have one name; expected one file of each name in A"),
        (
            {f"{side}/{role}1.png": b"" for side in "AB" for role in ("", "train/")},
            "found pairs inside and outside of folders for splits",
        ),
    ],
)
def test_folders_that_are_no_pairs_are_refused(files: dict[str, bytes], told: str, tmp_path: Path) -> None:
    options = data_options(write_folder(tmp_path / "set", files), inputs=FOLDERS)
    with pytest.raises(UserError, match=told):
        list(open_source(options).parts())


def test_what_cannot_be_a_pair_is_left_out_and_listed(tmp_path: Path) -> None:
    files = {
        **beside(),
        "odd.png": encode(noise(90, 16, 33)),
        "flat.png": encode(np.hstack([noise(91), 0 * noise(91)])),
    }
    manifest = pack_images(data_options(write_folder(tmp_path / "set", files), inputs=LEFT), tmp_path / "packed")
    assert manifest.cases == {"damaged": {"drop": 1}, "near_constant": {"drop": 1}}
    listed = (tmp_path / "packed" / "quarantine.csv").read_text()
    assert "odd.png,damaged,drop,33 pixels wide: an odd width holds no two images side by side" in listed
    files = {**apart(), "A/more.png": encode(noise(92, 16, 20)), "B/more.png": encode(noise(93))}
    manifest = pack_images(data_options(write_folder(tmp_path / "two", files), inputs=FOLDERS), tmp_path / "packed")
    assert manifest.cases == {"damaged": {"drop": 1}}
    assert "16 x 16 pixels, and its input 20 x 16: not of one shape" in (
        (tmp_path / "packed" / "quarantine.csv").read_text()
    )


def test_another_degradation_decodes_nothing_again(tmp_path: Path) -> None:
    source, scratch = write_folder(tmp_path / "set", beside()), tmp_path / "scratch"
    scratch.mkdir()
    pack_images(data_options(source, inputs={"kind": "denoise", "std": 0.1}), tmp_path / "out", scratch=scratch)
    before = {name for name in contents(scratch) if name.endswith(".npy")}
    pack_images(data_options(source, inputs={"kind": "deblur", "sigma_px": 1.0}), tmp_path / "out", scratch=scratch)
    assert {name for name in contents(scratch) if name.endswith(".npy")} == before
    pack_images(data_options(source, inputs=LEFT), tmp_path / "out", scratch=scratch)
    assert not {name for name in contents(scratch) if name.endswith(".npy")} & before


def test_pairs_come_to_the_networks_together_mirrored_or_not(tmp_path: Path) -> None:
    options = data_options(write_folder(tmp_path / "set", apart()), inputs=FOLDERS)
    assert not is_labelled(options)
    data = packed(options, tmp_path / "packed")
    config = tiny_config({**PAIRED, "data.inputs": FOLDERS, "augmentation.mirror": True})
    recipe = Recipe.of(config, data.image)
    feed, draws = (
        SplitFeed(data.train, recipe, ALONE, torch.device("cpu")),
        Draws(recipe.options, ALONE, torch.device("cpu")),
    )
    turned = 0
    for seen_images in (0, 8):
        draws.begin(seen_images)
        as_read, batch = feed.at(seen_images), prepared(recipe, feed.at(seen_images), draws)
        assert batch.condition is not None
        torch.testing.assert_close(batch.condition, -batch.images)
        turned += sum(not torch.equal(*pair) for pair in zip(as_read.images, batch.images, strict=True))
    assert 0 < turned < 16
    rows = np.array([3, 1])
    assert recipe.inputs is not None
    torch.testing.assert_close(inputs_of(data.train, rows, recipe.inputs, seed=0), -_scaled(data.train.take(rows)))


def _scaled(images: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1


def test_what_makes_no_sense_with_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fit=tile: not with pairs"):
        data_options("set", inputs=LEFT, fit="tile")
    with pytest.raises(ValueError, match="expected two folders"):
        data_options("set", inputs={**FOLDERS, "output": "A"})
    with pytest.raises(ValueError, match=r"kind=side_by_side has pairs, which loss\.objective=unpaired would not use"):
        tiny_config({**UNPAIRED, "data.inputs": LEFT})
    np.savez(tmp_path / "set.npz", images=np.zeros((4, 16, 32), np.uint8))
    with pytest.raises(UserError, match=r"found npz.*expected image files, as data.inputs asks for pairs"):
        open_source(data_options(tmp_path / "set.npz", inputs=LEFT))
