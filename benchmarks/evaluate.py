"""Our values, speed and memory beside torch-fidelity, pytorch-fid, clean-fid and torchmetrics: `make bench-evaluate`.

They come with `pip install 'ganlib[benchmarks]'`. Every figure of a race comes from a process of its own, in which
imports do not count; contenders take turns in random order. Weights of Inception are random, as no network is needed.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.children import ROOT, run_child
from benchmarks.evaluate_report import render
from benchmarks.ingest import hold_race
from benchmarks.machine import machine_facts
from benchmarks.measuring import Slot
from benchmarks.pictures import data_options, draw, image_files, pack_folder
from benchmarks.scorers import NAMES, Kind, preset_extractor
from ganlib.datasets.packed.order import batch_indices
from ganlib.datasets.packed.reading import open_packed
from ganlib.metrics.classifier import train_classifier
from ganlib.metrics.extractors import save_extractor
from ganlib.metrics.extractors.inception import untrained_network
from ganlib.sampling import Images

RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "torch-fidelity", "pytorch-fid", "clean-fid", "torchmetrics", "numpy", "scipy")
SECTIONS = ("inception", "domain", "forward", "bounds")
WORKER = "benchmarks.evaluate_worker"
NOISE_STD = 20
BATCH_SIZE, TRAINING_IMAGES = 64, 10_000


@dataclass(frozen=True)
class Scope:
    """How much is done: images a side, rounds, and features a side of the last section."""

    inception: int
    domain: int
    rounds: int
    forward: int
    bounds: tuple[int, int]


SCOPES = {
    "whole": Scope(inception=300, domain=10_000, rounds=5, forward=64, bounds=(50_000, 2_048)),
    "quick": Scope(inception=60, domain=2_000, rounds=2, forward=16, bounds=(3_000, 256)),
    "tiny": Scope(inception=24, domain=300, rounds=1, forward=8, bounds=(1_200, 32)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    scope = SCOPES[options.scope]
    if options.rounds is not None:
        scope = replace(scope, rounds=options.rounds)
    name = "evaluate" if options.scope == "whole" else f"evaluate-{options.scope}"
    results: dict[str, Any] = {"machine": machine_facts(*PACKAGES, threads=options.threads)}
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(scope, options.files, Path(scratch), options.threads)
        for section in options.only or SECTIONS:
            print(f"{section} …", file=sys.stderr, flush=True)
            results[section] = getattr(bench, section)()
            (options.results / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (options.results / f"{name}.md").write_text(render(results), encoding="utf-8")
    print(render(results))


class Bench:
    """The sections, and the images that they share."""

    def __init__(self, scope: Scope, files: Path | None, scratch: Path, threads: int) -> None:
        self._scope, self._files, self._scratch, self._threads = scope, files, scratch, threads

    def inception(self) -> dict[str, Any]:
        """300 against 300 images, as the issue of speed is the network."""
        return self._compare("inception", self._scope.inception)

    def domain(self) -> dict[str, Any]:
        """10,000 against 10,000 images, seen by the data set's own classifier."""
        return self._compare("domain", self._scope.domain)

    def forward(self) -> dict[str, Any]:
        """Ways to run Inception."""
        folder = make_images(self._scratch / "forward", self._scope.forward, self._files)
        task = {"measure": "forward", "folder": str(folder), "rounds": self._scope.rounds}
        found: dict[str, Any] = self._child({**task, "images": self._scope.forward}).result
        return found

    def bounds(self) -> dict[str, Any]:
        """Memory of all metrics together."""
        images, dimensions = self._scope.bounds
        found: dict[str, Any] = self._child({"measure": "bounds", "images": images, "dimensions": dimensions}).result
        return found

    def _compare(self, kind: Kind, count: int) -> dict[str, Any]:
        folder = make_images(self._scratch / kind, count, self._files)
        names = NAMES[kind]
        memory = {name: self._memory(name, kind, folder) for name in names}
        shares: dict[str, list[float]] = {"first": [], "second": []}
        values: dict[str, float] = {}

        def run(name: str, index: int) -> tuple[Slot, float]:
            contender, order = name.split(", ")
            with tempfile.TemporaryDirectory(dir=self._scratch) as empty:
                kept = Path(empty) if order == "first" else folder / f"cache-{contender}"
                done = self._child(_scoring(contender, kind, folder, kept))
            values[contender] = done.result["value"]
            if done.result["forward_s"] is not None:
                shares[order].append(1 - done.result["forward_s"] / done.result["seconds"])
            return Slot(name, index, 1, done.result["seconds"], done.others_share), done.processor_s

        contenders = [f"{name}, {order}" for name in names for order in ("first", "second")]
        race = hold_race(contenders, run, self._scope.rounds, contenders)
        return {
            "images": count,
            "race": race,
            "values": values,
            "memory": memory,
            "outside_forward": shares,
            "parity": self._child({"measure": "parity", "folder": str(folder), "kind": kind, "cache": "."}).result,
        }

    def _memory(self, name: str, kind: Kind, folder: Path) -> dict[str, Any]:
        """Peaks of both runs, the first of which fills the cache of all second ones."""
        kept = folder / f"cache-{name}"
        kept.mkdir()
        found = {}
        for order in ("first", "second"):
            done = self._child(_scoring(name, kind, folder, kept), memory=True)
            assert done.memory is not None
            found[order] = asdict(done.memory)
        return found

    def _child(self, task: dict[str, Any], *, memory: bool = False) -> Any:
        return run_child(task, memory=memory, worker=WORKER, threads=self._threads)


def make_images(folder: Path, count: int, files: Path | None) -> Path:
    """`count` real and as many generated images, as files in two folders and packed, and networks to look at them.

    Real ones are drawn, or taken from `files`; generated ones are the same with noise.
    """
    classes = folder / "classes"
    if files is None:
        draw(folder / "drawn", count)
    chosen = image_files(files or folder / "drawn")
    chosen = random.Random(0).sample(chosen, count)
    noise = np.random.default_rng(0)
    for side in ("real", "generated"):
        (folder / side).mkdir(parents=True)
    for index, path in enumerate(chosen):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        noisy = (pixels + noise.normal(0, NOISE_STD, pixels.shape)).clip(0, 255).astype(np.uint8)
        for side, part, content in (("real", "train", pixels), ("generated", "test", noisy)):
            target = classes / part / path.parent.name / f"{index:05}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), content)
            (folder / side / target.name).hardlink_to(target)
    _pack(classes, folder / "packed", count)
    _write_networks(folder, count)
    return folder


def _pack(classes: Path, packed: Path, count: int) -> None:
    with Image.open(image_files(classes)[0]) as first:
        size, channels = first.width, len(first.getbands())
    kept = dict.fromkeys(("near_constant", "exact_duplicate", "near_duplicate", "split_overlap"), "keep")
    cleaning = data_options(classes).cleaning.model_dump()
    cleaning["policy"] |= kept
    manifest = pack_folder(classes, packed, image_size=size, channels=channels, cleaning=cleaning)
    assert [split.images for split in manifest.splits.values()] == [count, count]


def _write_networks(folder: Path, count: int) -> None:
    """A classifier trained for a moment, so that its features are no mere noise, and random weights of Inception."""
    data = open_packed(folder / "packed")
    labels = data.train.labels
    assert labels is not None

    def batches(seen_images: int) -> tuple[Images, NDArray[np.int64]]:
        chosen = batch_indices(seed=0, seen_images=seen_images, batch_size=BATCH_SIZE, size=count)
        return data.train.take(chosen), labels[chosen]

    options = preset_extractor().model_copy(update={"total_images": TRAINING_IMAGES, "batch_size": BATCH_SIZE})
    save_extractor(
        folder / "extractor", train_classifier(options, data.image, batches, torch.device("cpu")), data.image
    )
    torch.save(untrained_network(0).state_dict(), folder / "inception.pth")


def _scoring(name: str, kind: Kind, folder: Path, cache: Path) -> dict[str, Any]:
    return {"measure": "score", "name": name, "kind": kind, "folder": str(folder), "cache": str(cache)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluate", description=__doc__)
    parser.add_argument("--files", type=Path, help="class folders of images of one size; default: drawn, 32 x 32")
    parser.add_argument("--scope", choices=SCOPES, default="whole", help="quick: some minutes; tiny: does it run")
    parser.add_argument("--rounds", type=int, help="of every race; default: the scope's")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated; default: all")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--scratch", type=Path, help="where files are made and removed; default: the temporary folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
