"""`gan reconstruct`, `gan interpolate` and `gan sample --latents` on files of all sorts."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ganlib.inversion.latents import SavedLatents
from ganlib.marking import COMPOSITE_TYPE, SOURCE_TYPE, read_origin
from ganlib.metrics.classifier import to_input
from ganlib.networks import build_encoder, build_generator
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines import cli, paths
from pipelines.provenance import credential
from pipelines.stages import extractor
from tests.quiz_project import make_project

SCALE, SIDE = 4, 64  # of images of 16 pixels in the pictures


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a generator whose samples differ, and the classifier that the extractor stage trains."""
    root = tmp_path_factory.mktemp("reconstructing") / "project"
    make_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        extractor.main()
        params = yaml.safe_load(paths.PARAMS.read_text())
        params["evaluate"]["reconstruction"] |= {"candidates": 200, "steps": 20, "batch_size": 2}
        paths.PARAMS.write_text(yaml.safe_dump(params))
        generator = ImageGenerator.load(paths.GENERATOR)
        generator.generator.output.weight.mul_(10)  # untrained, its images are nearly grey
        generator.save(paths.GENERATOR)
    return root


@pytest.fixture
def gan(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["gan", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run


def sample(name: str, seed: int, *, size: tuple[int, int] = (16, 16), mode: str = "L") -> str:
    pixels = ImageGenerator.load(paths.GENERATOR).sample(seed=seed, labels=[seed % 10])[0]
    Path(name).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels[..., 0]).convert(mode).resize(size).save(name)
    return name


def shown(file: str | Path, place: int, row: int = 0, *, scale: int = SCALE) -> np.ndarray:
    """One image of a picture, at its own size."""
    side = 16 * scale + scale
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("L"))
    return pixels[row * side : row * side + 16 * scale : scale, place * side : place * side + 16 * scale : scale]


def assert_marked(*files: Path, source_type: str) -> None:
    """Each says that this generator made it, and is signed."""
    for file in files:
        content = file.read_bytes()
        with Image.open(file) as opened:
            origin = read_origin(opened)
        assert origin is not None
        assert origin.generator_sha256 == generator_sha256(paths.GENERATOR)
        assert f"<Iptc4xmpExt:DigitalSourceType>{source_type}<".encode() in content
        signed = credential.read(content, credential.MIMES[file.suffix])
        assert signed is not None
        assert signed.intact


def one_error(said: Said) -> str:
    assert said.code == 2
    (line,) = (line for line in said.err.splitlines() if line.startswith("error: "))
    return line


def test_images_come_back_as_latents_which_make_the_same_pictures_again(gan: Command) -> None:
    files = [
        sample("one.png", 1), sample("a/same.png", 2), sample("b/same.png", 3),
        sample("large.jpg", 4, size=(50, 40), mode="RGB"),
    ]  # fmt: skip
    said = gan("reconstruct", *files, "-o", "found")
    assert said.code == 0, said.err
    assert said.err == "large.jpg: 50 x 40 RGB, converted to 16 x 16 grey (data.fit=crop, data.resizer=bicubic)\n"
    names = ["one.png", "same.png", "same-2.png", "large.png"]
    assert {file.name for file in Path("found").iterdir()} == {*names, "latents.safetensors"}
    for file in files:
        assert file in said.out
    assert gan("sample", "--latents", "found/latents.safetensors").code == 0
    for place, name in enumerate(names):
        original, made, difference = (shown(Path("found", name), column) for column in range(3))
        np.testing.assert_array_equal(made, shown("samples.png", place, scale=2))
        np.testing.assert_array_equal(difference, np.abs(original.astype(int) - made))
    assert_marked(*(Path("found", name) for name in names), source_type=COMPOSITE_TYPE)
    with Image.open("one.png") as one:
        np.testing.assert_array_equal(shown("found/one.png", 0), np.asarray(one))

    together = SavedLatents.load(Path("found/latents.safetensors"))
    assert gan("reconstruct", files[2], "-o", "alone").code == 0
    alone = SavedLatents.load(Path("alone/latents.safetensors"))
    assert torch.equal(alone.latents, together.latents[2:3])
    assert gan("reconstruct", files[2], "-o", "other", "--seed", "1").code == 0
    assert not torch.equal(SavedLatents.load(Path("other/latents.safetensors")).latents, alone.latents)


def test_colours_come_back_as_colours(gan: Command) -> None:
    params = yaml.safe_load(paths.PARAMS.read_text())
    params["data"]["channels"] = 3
    params["evaluate"]["reconstruction"] |= {"candidates": 512, "starts": 1, "steps": 60}
    params["evaluate"]["extractor"], params["register"]["metric"] = "random", "random/kid"
    paths.PARAMS.write_text(yaml.safe_dump(params))
    loaded = ImageGenerator.load(paths.GENERATOR)
    image = loaded.image.model_copy(update={"channels": 3})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_generator(loaded.network, image)
        network.output.weight.data.mul_(10)
    ImageGenerator(network, loaded.network, image, loaded.provenance).save(paths.GENERATOR)
    pixels = ImageGenerator.load(paths.GENERATOR).sample(seed=3, labels=[3])[0]
    Image.fromarray(pixels).save("colours.png")
    said = gan("reconstruct", "colours.png", "-o", "found", "--label", "3")
    assert said.code == 0, said.err
    with Image.open("found/colours.png") as picture:
        assert picture.mode == "RGB"
        triple = np.asarray(picture).astype(int)
    original, made, difference = (triple[: 16 * SCALE : SCALE, at : at + SIDE : SCALE] for at in (0, 68, 136))
    np.testing.assert_array_equal(original, pixels)
    np.testing.assert_array_equal(difference, np.abs(original - made))
    apart = np.square(made - original).mean(axis=(0, 1))
    assert (apart < np.square(original - original.mean(axis=(0, 1))).mean(axis=(0, 1)) / 2).all()  # in each colour


def test_latents_can_be_calculated_with(gan: Command) -> None:
    assert gan("reconstruct", sample("1.png", 1), sample("2.png", 2), "-o", "found", "--label", "7").code == 0
    file = Path("found/latents.safetensors")
    pair = SavedLatents.load(file)
    assert pair.labels is not None
    assert pair.labels.tolist() == [7, 7]
    edited = SavedLatents(pair.latents[:1] * 2 - pair.latents[1:], torch.tensor([3]), pair.generator_sha256)
    edited.save(Path("edited.safetensors"))
    assert gan("sample", "--latents", "edited.safetensors").err == ""
    expected = edited.images(ImageGenerator.load(paths.GENERATOR))[0, ..., 0]
    np.testing.assert_array_equal(shown("samples.png", 0, scale=2), expected)
    assert one_error(gan("sample", "--latents", file, "--seed", "0")) == (
        f"error: --seed: has no meaning beside --latents {file}; leave one of them out"
    )
    generator = ImageGenerator.load(paths.GENERATOR)
    ImageGenerator(generator.generator, generator.network, generator.image, {"seen_images": 2}).save(Path("kin"))
    assert "latents of another generator" in gan("sample", "--latents", file, "--folder", "kin").err


def test_between_two_images_lies_a_strip_and_an_animation_there_and_back(gan: Command) -> None:
    files = sample("1.png", 1), sample("2.png", 2)
    assert gan("reconstruct", *files, "-o", "found").code == 0
    said = gan("interpolate", *files, "-o", "way.png")
    assert said.code == 0, said.err
    labels = SavedLatents.load(Path("found/latents.safetensors")).labels
    assert labels is not None
    last = 0 if labels[0] == labels[1] else 1
    # Other batches, other rounding.
    for name, place, row in (("1.png", 0, 0), ("2.png", 9, last)):
        end = shown("way.png", place, row).astype(int)
        assert np.abs(end - shown(Path("found", name), 1)).max() <= 1
    assert (shown("way.png", 4) != shown("way.png", 0)).any()
    with Image.open("way.webp") as animation:
        assert (animation.n_frames, animation.format) == (48, "WEBP")
    assert_marked(Path("way.png"), Path("way.webp"), source_type=SOURCE_TYPE)
    assert one_error(gan("interpolate", *files, "-o", "way.gif")).startswith("error: --output way.gif: a PNG file")


def test_an_encoder_alone_is_fast_and_as_a_start_it_helps(gan: Command) -> None:
    good = sample("good.png", 1)
    line = one_error(gan("reconstruct", good, "-o", "found", "--fast"))
    assert line == (
        "error: --fast: models/generator holds no encoder; set train.encoder and train again, or leave it out"
    )
    loaded = ImageGenerator.load(paths.GENERATOR)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_encoder(loaded.network, loaded.image)
    loaded.save(paths.GENERATOR, encoder=encoder)
    assert gan("reconstruct", good, "-o", "fast", "--fast", "--label", "1").code == 0
    with Image.open(good) as opened, torch.no_grad():
        expected, _ = encoder.eval()(to_input(np.array(opened)[None, ..., None], torch.device("cpu")))
    torch.testing.assert_close(SavedLatents.load(Path("fast/latents.safetensors")).latents, expected)
    assert gan("reconstruct", good, "-o", "found", "--label", "1").code == 0
    assert not torch.allclose(SavedLatents.load(Path("found/latents.safetensors")).latents, expected)


def test_a_file_of_no_use_leaves_nothing_written(gan: Command) -> None:
    Path("text.png").write_text("hello")
    good = sample("good.png", 1)
    said = gan("reconstruct", good, "text.png", "missing.png", "-o", "found")
    assert said.code == 2
    assert [line.split(": ")[1] for line in said.err.splitlines()] == ["text.png", "missing.png"]
    assert one_error(gan("reconstruct", good, "-o", good)).startswith("error: --output good.png: found a file")
    set_data_limit(100)
    assert "more than data.limits.max_file_bytes=100" in one_error(gan("reconstruct", good, "-o", "found"))
    assert not Path("found").exists()


def test_unknown_classes_and_other_images_than_the_data_have_are_one_line(gan: Command) -> None:
    good = sample("good.png", 1)
    line = one_error(gan("reconstruct", good, "-o", "found", "--label", "ten"))
    assert line.startswith("error: --label ten: unknown, expected one of 0, 1, 2")
    loaded = ImageGenerator.load(paths.GENERATOR)
    unconditional = loaded.network.model_copy(update={"conditional": False})
    image = loaded.image
    ImageGenerator(build_generator(unconditional, image), unconditional, image, loaded.provenance).save(Path("plain"))
    line = one_error(gan("reconstruct", good, "-o", "found", "--label", "3", "--folder", "plain"))
    assert line == "error: --label 3: this generator is unconditional; leave it out"
    assert gan("reconstruct", good, "-o", "plainly", "--folder", "plain").code == 0
    assert SavedLatents.load(Path("plainly/latents.safetensors")).labels is None
    larger = image.model_copy(update={"size": 32})
    ImageGenerator(build_generator(loaded.network, larger), loaded.network, larger, loaded.provenance).save(Path("big"))
    line = one_error(gan("reconstruct", good, "-o", "found", "--folder", "big"))
    assert line.startswith("error: big: makes images of size 32 and 1 channels, found data.image_size=16")
    assert "needs the critic" not in line
    assert not Path("found").exists()


def set_data_limit(max_file_bytes: int) -> None:
    params = yaml.safe_load(paths.PARAMS.read_text())
    params["data"]["limits"]["max_file_bytes"] = max_file_bytes
    paths.PARAMS.write_text(yaml.safe_dump(params))
