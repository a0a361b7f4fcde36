"""`gan translate` on files of all sorts."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ganlib.config import RunConfig
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from pipelines import cli, paths
from tests.configs import PAIRED, STYLES, UNPAIRED, tiny_values
from tests.ganlib.datasets.image_bytes import png
from tests.registered import make_translator
from tests.toy_training import IMAGE

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """In a project whose translator doubles the resolution of grey images."""
    values = tiny_values({**PAIRED, "data.inputs": {"kind": "superresolve", "factor": 2}})
    config = RunConfig.model_validate(values)
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    network = build_generator(config.network, IMAGE)
    ImageGenerator(network, config.network, IMAGE, {"seen_images": 1}, config.data.inputs).save(paths.GENERATOR)

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["gan", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


def test_images_of_all_sorts_come_out_twice_as_large(gan: Command, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
    lying = Image.Exif()
    lying[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save("photo.jpg", exif=lying)
    Image.fromarray(pixels[:, :, 0]).save("scan.tiff")
    code, out, told = gan("translate", "photo.jpg", "scan.tiff", "-o", "made")
    assert (code, told) == (0, "photo.jpg: RGB, converted to grey\n")
    assert out.splitlines() == ["photo.jpg -> made/photo.png", "scan.tiff -> made/scan.png"]
    with Image.open("made/photo.png") as upright:
        assert upright.size == (42, 68)
    with Image.open("made/scan.png") as made, Image.open("scan.tiff") as scan:
        assert (made.size, made.mode) == ((68, 42), "L")
        # A new translator adds nothing: what comes out is the bicubic enlargement.
        by_pillow = np.asarray(scan.resize((68, 42), Image.Resampling.BICUBIC), dtype=int)
        apart = np.abs(np.asarray(made, dtype=int) - by_pillow)[4:-4, 4:-4]
    assert np.median(apart) <= 12  # other coefficients, the same enlargement


def test_transparency_is_laid_on_the_background_of_the_data(gan: Command) -> None:
    values = yaml.safe_load(paths.PARAMS.read_text())
    values["data"]["background"] = [200, 200, 200]
    paths.PARAMS.write_text(yaml.safe_dump(values))
    hidden = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    hidden[..., 3] = 0
    Image.fromarray(hidden).save("hidden.png")
    Image.new("L", (16, 16), 200).save("plain.png")
    code, _, told = gan("translate", "hidden.png", "plain.png", "-o", "made")
    assert (code, told) == (0, "hidden.png: RGBA, converted to grey on data.background=[200, 200, 200]\n")
    with Image.open("made/hidden.png") as one, Image.open("made/plain.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_what_cannot_be_translated_is_one_line_and_writes_nothing(gan: Command) -> None:
    Image.new("L", (8, 8)).save("good.png")
    Path("notes.txt").write_text("no image")
    Image.new("F", (8, 8)).save("depths.tiff")
    for arguments, told in {
        ("good.png", "gone.png", "-o", "made"): "gone.png: no such file",
        ("good.png", "notes.txt", "-o", "made"): "notes.txt: cannot be read as an image",
        ("good.png", "depths.tiff", "-o", "made"): "depths.tiff: cannot be read as an image (mode F: nobody agrees",
        ("good.png", "-o", "."): "good.png: would be replaced by its translation",
        ("good.png", "good.png", "-o", "made"): "would be written to made/good.png too",
    }.items():
        code, _, error = gan("translate", *arguments)
        assert code == 2
        assert told in error
        assert len(error.splitlines()) == 1
    assert not Path("made").exists()


def test_a_translator_draws_no_samples_and_others_translate_nothing(gan: Command) -> None:
    Image.new("L", (8, 8)).save("good.png")
    for command in (("sample",), ("reconstruct", "good.png", "-o", "found")):
        code, _, error = gan(*command)
        assert (code, "gan translate IMAGE" in error) == (2, True), error
    config = RunConfig.model_validate(tiny_values({}))
    other = ImageGenerator(build_generator(config.network, IMAGE), config.network, IMAGE, {"seen_images": 1})
    other.save(paths.GENERATOR)
    code, _, error = gan("translate", "good.png", "-o", "made")
    assert (code, "is given no images" in error) == (2, True)


def test_an_image_larger_than_pillow_reads_is_one_line(gan: Command) -> None:
    Path("huge.png").write_bytes(png(np.zeros((2, 2), np.uint8), colour=0, size=(60_000, 60_000)))
    for command in (("translate", "huge.png", "-o", "made"), ("verify", "huge.png")):
        code, _, error = gan(*command)
        assert code == 2
        assert "huge.png: cannot be read as an image (Image size (3600000000 pixels)" in error
        assert len(error.splitlines()) == 1


def test_styles_are_asked_for_by_name(gan: Command) -> None:
    make_translator(paths.GENERATOR, STYLES)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save("good.png")
    made = {}
    for style in ("images", "negative", "blurred", "noisy"):
        code, _, error = gan("translate", "good.png", "-o", style, "--to", style, "--tile-px", "32")
        assert code == 0, error
        with Image.open(f"{style}/good.png") as image:
            made[style] = np.asarray(image).tobytes()
    assert len(set(made.values())) == 4
    code, _, error = gan("translate", "good.png", "-o", "other", "--to", "zebras")
    assert (code, "expected images, negative, blurred or noisy" in error) == (2, True)


def test_translators_without_pairs_go_both_ways(gan: Command) -> None:
    make_translator(paths.GENERATOR, UNPAIRED)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save("good.png")
    made = {}
    for name, to in {"plain": (), "images": ("--to", "images"), "inputs": ("--to", "inputs")}.items():
        code, _, error = gan("translate", "good.png", "-o", name, *to)
        assert code == 0, error
        with Image.open(f"{name}/good.png") as image:
            made[name] = np.asarray(image)
    assert np.array_equal(made["plain"], made["images"])
    assert not np.array_equal(made["images"], made["inputs"])
    code, _, error = gan("translate", "good.png", "-o", "other", "--to", "zebras")
    assert code == 2
    assert error.strip().endswith("to=zebras: this translator makes no such images; expected images or inputs")
    assert not Path("other").exists()
