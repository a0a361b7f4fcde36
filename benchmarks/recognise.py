"""How surely `gan verify` tells a generator's images from others: `python -m benchmarks.recognise`.

It packs the digits with two fifths held out, trains a generator and another one with another seed, and asks about files
of both and of real images: as they were written, and changed as people change pictures.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.children import ROOT
from benchmarks.machine import machine_facts
from ganlib.config import RunConfig
from ganlib.datasets.packed.reading import PackedData, open_packed
from ganlib.datasets.packing.pack import pack
from ganlib.marking import Origin, marked_png
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.sampling import Images, balanced_labels
from ganlib.training.distributed import ALONE
from ganlib.training.feeding import SplitFeed
from ganlib.training.iteration import Iteration
from ganlib.training.precision import prepare_device
from ganlib.training.recipe import Recipe
from ganlib.training.state import initial_state
from pipelines import paths
from pipelines.presets import load_parameters
from pipelines.provenance import credential, recognising
from pipelines.provenance.recognising import Nearness
from pipelines.provenance.verifying import verify_files

RESULT = ROOT / "benchmarks" / "results" / "recognise.md"
PICTURES, HELD_OUT_SHARE = 500, 0.4
# It divides the counts of pictures, so that no batch is filled up.
SEARCHED_AT_ONCE = 50
OWN_SEED, OTHER_SEED, SAMPLE_SEED = 0, 1, 777
RATES = (0.01, 0.05)
JPEG_QUALITY = 85
EXPLANATION = """\
Pictures of which `gan verify` says that the generator made them, in percent. *Own* were drawn from it; *real* are held
out, and none of them is among those that the threshold is measured on; *other* were drawn from a generator that learned
from the same images with another seed. *Marks kept*: with mark and, as it was written, credential; own ones carry their
own, real and other ones carry a false one, which says that they are own ones. *Marks lost*: pixels alone, so that a
search decides, which is to take at most 1 % or 5 % of real images for own ones. PSNR: of a picture and the nearest
image that the search found, median and, in brackets, the 5th and 95th percentile."""

Changed = dict[str, Callable[[Image.Image], tuple[Image.Image, str]]]


def _resized(picture: Image.Image, factor: float) -> Image.Image:
    width, height = (round(side * factor) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


CHANGES: Changed = {
    "as it was": lambda picture: (picture, "png"),
    f"JPEG, quality {JPEG_QUALITY}": lambda picture: (picture, "jpg"),
    "twice as large": lambda picture: (_resized(picture, 2), "png"),
    "three quarters as large": lambda picture: (_resized(picture, 0.75), "png"),
}


def main() -> None:
    """Train, ask, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="of each kind")
    parser.add_argument("--preset", type=Path, default=ROOT / "presets" / "digits.yaml")
    parser.add_argument("--images", type=int, help="shown to the critic; without it, as many as the preset says")
    parser.add_argument("--size", type=int, help="of images; without it, that of the preset")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    config = _config(arguments.preset, arguments.images, arguments.size)
    with _project(config):
        data = open_packed(paths.PROCESSED)
        ours = _trained(config, data, OWN_SEED)
        ours.save(paths.GENERATOR)
        lines = [*_table(_pictures(ours, config, data, arguments.pictures), ours)]
    facts = machine_facts("torch", "Pillow", threads=1)
    size = config.data.image_size
    text = [
        f"# Recognition of {size} x {size} digits on {facts['kind']}, {facts['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date"))
        + f". {config.train.total_images} images shown, {arguments.pictures} pictures of each kind, "
        f"{recognising.MOST_HELD_OUT} held-out images behind the thresholds.",
        "",
        EXPLANATION,
        "",
        *lines,
    ]
    arguments.output.write_text("\n".join(text) + "\n", encoding="utf-8")
    print(arguments.output)


def _config(preset: Path, images: int | None, size: int | None) -> RunConfig:
    values = load_parameters(preset).model_dump(mode="json", by_alias=True)
    values["data"] |= {"source": str(ROOT / values["data"]["source"]), "split": "hash", "test_share": HELD_OUT_SHARE}
    values["data"]["image_size"] = size or values["data"]["image_size"]
    values["evaluate"]["reconstruction"]["batch_size"] = SEARCHED_AT_ONCE
    values["train"]["total_images"] = images or values["train"]["total_images"]
    return RunConfig.model_validate(values)


@contextmanager
def _project(config: RunConfig) -> Iterator[None]:
    """A folder with these parameters and data as the working directory."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            paths.PARAMS.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)), encoding="utf-8")
            pack(config.data, config.preprocess, paths.PROCESSED, scratch=paths.PACKING)
            yield
        finally:
            os.chdir(before)


def _trained(config: RunConfig, data: PackedData, seed: int) -> ImageGenerator:
    config = config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})
    device = prepare_device(config.train)
    state, recipe = initial_state(config, data.image, device), Recipe.of(config, data.image)
    iteration = Iteration(state, recipe, SplitFeed(data.train, recipe, ALONE, device), ALONE)
    while state.seen_images < config.train.total_images:
        iteration.run()
    print(f"trained with seed {seed}", flush=True)
    return ImageGenerator(state.ema, config.network, data.image, {"seen_images": state.seen_images, "seed": seed})


def _pictures(ours: ImageGenerator, config: RunConfig, data: PackedData, count: int) -> Iterator[tuple[str, Images]]:
    """uint8 [count, H, W, C] of each kind; the real ones are none of those that thresholds are measured on."""
    taken = np.linspace(0, len(data.test) - 1, recognising.MOST_HELD_OUT).round().astype(np.int64)
    free = np.setdiff1d(np.arange(len(data.test)), taken)
    if len(free) < count:
        raise SystemExit(f"--pictures {count}: {len(free)} held-out images are left; ask for fewer")
    yield "own", ours.sample(seed=SAMPLE_SEED, count=count)
    yield "real", data.test.take(free[np.linspace(0, len(free) - 1, count).round().astype(np.int64)])
    yield "other", _trained(config, data, OTHER_SEED).sample(seed=SAMPLE_SEED, count=count)


def _table(kinds: Iterable[tuple[str, Images]], ours: ImageGenerator) -> Iterator[str]:
    yield "| pictures | changed | marks kept | marks lost, 1 % | marks lost, 5 % | PSNR, dB |"
    yield "|" + " --- |" * 6
    taken = [*kinds]
    for change in CHANGES:
        for kind, images in taken:
            began = time.perf_counter()
            known = _verified(_files(images, ours, change, marked=True), rate=None)
            by_marks = np.mean([each.verdict in {"made by this generator", "very near"} for each in known])
            files = _files(images, ours, change, marked=False)
            near_db = np.empty(0)
            shares: list[float] = []
            for rate in RATES:
                found = _verified(files if not shares else files[:1], rate=rate)
                searches = [each.search for each in found]
                measured = [each for each in searches if isinstance(each, Nearness)]
                assert len(measured) == len(searches), searches
                near_db = near_db if shares else np.array([each.psnr_db for each in measured])
                shares.append(float((near_db > measured[0].threshold_db).mean()))
            low, median, high = np.percentile(near_db, (5, 50, 95))
            line = (
                f"| {kind} | {change} | {100 * by_marks:.1f} | "
                + " | ".join(f"{100 * share:.1f}" for share in shares)
                + f" | {median:.1f} ({low:.1f} to {high:.1f}) |"
            )
            print(line, f"{time.perf_counter() - began:.0f} s", flush=True)
            yield line


def _verified(files: Sequence[Path], *, rate: float | None) -> Any:
    return verify_files(files, folder=paths.GENERATOR, false_positive_rate=rate, notify=lambda _: None)


def _files(images: Images, ours: ImageGenerator, change: str, *, marked: bool) -> list[Path]:
    """Picture files, changed, which say that they are the generator's own or nothing."""
    folder = Path(tempfile.mkdtemp(dir="."))
    sha256 = generator_sha256(paths.GENERATOR)
    names = ours.image.classes
    labels = balanced_labels(len(images), len(names)).tolist() if ours.conditional else [None] * len(images)
    files = []
    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        origin = Origin(sha256, {"seed": SAMPLE_SEED, "index": index, "label": None if label is None else names[label]})
        written = marked_png(pixels, origin)
        with Image.open(io.BytesIO(written)) as picture:
            changed, kind = CHANGES[change](picture)
            file = folder / f"{index}.{kind}"
            if changed is picture and kind == "png" and marked:
                file.write_bytes(credential.sign(written, origin) if credential.available() else written)
            elif kind == "jpg":
                kept = {"xmp": picture.info["XML:com.adobe.xmp"].encode()} if marked else {}
                changed.save(file, quality=JPEG_QUALITY, **kept)
            elif marked:
                file.write_bytes(marked_png(_pixels(changed), origin))
            else:
                Image.fromarray(np.asarray(changed)).save(file)
        files.append(file)
    return files


def _pixels(picture: Image.Image) -> Images:
    pixels = np.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


if __name__ == "__main__":
    main()
