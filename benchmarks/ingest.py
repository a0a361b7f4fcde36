"""How fast images are packed and read, in how much memory, and what an update costs: `make bench-ingest`.

Every figure comes from a process of its own, on one thread, with the files in
the page cache; contenders take turns in random order.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.children import ROOT, run_child
from benchmarks.ingest_report import render
from benchmarks.machine import machine_facts
from benchmarks.measuring import Slot, paces, ratios
from benchmarks.packers import PACKERS
from benchmarks.pictures import IMAGE_SIZE, draw, image_files, pack_folder
from benchmarks.updates import growing, raw_files

RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("numpy", "pillow", "opencv-python-headless", "torch", "torchvision", "dvc")
SECTIONS = ("pack", "photos", "read", "memory", "update", "scale")
READERS = ("folder", "folder+2", "map", "map+2", "ours")
PHOTO_SIZE, PACKED_PHOTO_SIZE = (1024, 768), 256


@dataclass(frozen=True)
class Scope:
    """How much is done."""

    files: int
    photos: int
    rounds: int
    photo_rounds: int
    slot_s: float
    subsets: tuple[int, ...]
    shard_images: tuple[int, ...]
    index_rows: tuple[int, ...]
    near_rows: tuple[int, ...]
    permutations: tuple[int, ...]
    many_shards: int


WHOLE = Scope(
    files=60_000, photos=2_000, rounds=5, photo_rounds=3, slot_s=3.0, subsets=(1_000, 10_000),
    shard_images=(512, 2048, 8192), index_rows=(60_000, 300_000, 1_000_000), near_rows=(60_000, 300_000, 1_000_000),
    permutations=(1_000_000, 10_000_000, 100_000_000), many_shards=2_000,
)  # fmt: skip
QUICK = Scope(
    files=2_000, photos=60, rounds=2, photo_rounds=2, slot_s=0.5, subsets=(500,), shard_images=(512,),
    index_rows=(5_000,), near_rows=(5_000,), permutations=(100_000,), many_shards=200,
)  # fmt: skip
TINY = Scope(
    files=200, photos=20, rounds=1, photo_rounds=1, slot_s=0.05, subsets=(100,), shard_images=(64,),
    index_rows=(300,), near_rows=(2_000,), permutations=(1_000,), many_shards=100,
)  # fmt: skip
SCOPES = {"whole": WHOLE, "quick": QUICK, "tiny": TINY}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    scope = SCOPES[options.scope]
    name = "ingest" if scope is WHOLE else f"ingest-{options.scope}"
    if options.rounds is not None:
        scope = replace(scope, rounds=options.rounds, photo_rounds=options.rounds)
    results: dict[str, Any] = {"machine": machine_facts(*PACKAGES)}
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(scope, options.files, Path(scratch))
        results["machine"]["files"] = bench.description
        for section in options.only or SECTIONS:
            print(f"{section} …", file=sys.stderr, flush=True)
            results[section] = getattr(bench, section)()
            (options.results / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (options.results / f"{name}.md").write_text(render(results), encoding="utf-8")
    print(render(results))


class Bench:
    """The sections, and the pictures that they share."""

    def __init__(self, scope: Scope, files: Path | None, scratch: Path) -> None:
        self._scope, self._scratch = scope, scratch
        self._files = self._small_files(files)
        self._count = warm(self._files)
        kind = "drawn" if files is None else "the user's"
        self.description = f"{self._count} ({kind})"

    def pack(self) -> dict[str, Any]:
        """Packing the small files."""
        return self._pack_race(self._files, self._count, IMAGE_SIZE, self._scope.rounds)

    def photos(self) -> dict[str, Any]:
        """Packing the photographs."""
        return self._pack_race(self._photos(), self._scope.photos, PACKED_PHOTO_SIZE, self._scope.photo_rounds)

    def read(self) -> dict[str, Any]:
        """Random batches of the small files and of what they are packed into."""
        packed = self._scratch / "read"
        pack_folder(self._files, packed, workers=2)
        task = {"measure": "read", "images": str(self._files), "packed": str(packed), "slot_s": self._scope.slot_s}

        def run(name: str, index: int) -> tuple[Slot, float]:
            done = run_child({**task, "name": name})
            return Slot(name, index, done.result["batches"], done.result["seconds"], done.others_share), 0.0

        return hold_race(READERS, run, self._scope.rounds, ("folder", "folder+2", "map"))

    def memory(self) -> list[dict[str, Any]]:
        """Peaks of packing growing numbers of small files, and the photographs."""
        found: list[dict[str, Any]] = []
        for count in (*self._scope.subsets, self._count):
            images = self._files
            if count < self._count:
                images = subset(self._files, self._scratch / f"subset-{count}", count)
            found += self._peaks(images, f"{count} small files", IMAGE_SIZE)
        found += self._peaks(self._photos(), f"{self._scope.photos} photographs", PACKED_PHOTO_SIZE)
        return found

    def update(self) -> dict[str, Any]:
        """A hundred more small files, for several sizes of shards; and what DVC makes of the files as they are."""
        images = subset(self._files, self._scratch / "growing", self._count)
        found: dict[str, Any] = {}
        for shard_images in self._scope.shard_images:
            project = self._scratch / f"update-{shard_images}"
            found[str(shard_images)] = growing(images, project, IMAGE_SIZE, shard_images)
            shutil.rmtree(project)
        project = self._scratch / "update-raw"
        found["raw"] = raw_files(images, project)
        shutil.rmtree(project)
        shutil.rmtree(images)
        return found

    def scale(self) -> dict[str, list[dict[str, Any]]]:
        """What grows with the number of images."""
        scope = self._scope
        return {
            "index": [self._scaled("index", count, scratch=str(self._scratch)) for count in scope.index_rows],
            "near": [self._scaled("near", count, most_bits=4) for count in scope.near_rows],
            "permutation": [self._scaled("permutation", count) for count in scope.permutations],
            "shards": [self._many_shards()],
        }

    def _pack_race(self, images: Path, count: int, image_size: int, rounds: int) -> dict[str, Any]:
        def run(name: str, index: int) -> tuple[Slot, float]:
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                done = run_child(_packing(name, images, Path(folder), image_size))
            return Slot(name, index, count, done.result["seconds"], done.others_share), done.processor_s

        return hold_race(PACKERS, run, rounds, ("pil", "folder", "folder+2"))

    def _peaks(self, images: Path, what: str, image_size: int) -> Iterator[dict[str, Any]]:
        for name in PACKERS:
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                done = run_child(_packing(name, images, Path(folder), image_size), memory=True)
            assert done.memory is not None
            yield {"what": what, "contender": name, **asdict(done.memory)}

    def _scaled(self, measure: str, count: int, **more: Any) -> dict[str, Any]:
        done = run_child({"measure": measure, "count": count, **more}, memory=True)
        assert done.memory is not None
        return {"count": count, **done.result, "peak_mib": done.memory.first_mib}

    def _many_shards(self) -> dict[str, Any]:
        images = subset(self._files, self._scratch / "sharded", min(self._scope.many_shards, self._count))
        task = {"measure": "shards", "images": str(images), "packed": str(self._scratch / "shards")}
        result: dict[str, Any] = run_child(task).result
        return result

    def _small_files(self, files: Path | None) -> Path:
        if files is not None:
            return files.resolve()
        drawn = self._scratch / "small"
        draw(drawn, self._scope.files, suffix=".jpg")
        return drawn

    def _photos(self) -> Path:
        photos = self._scratch / "photos"
        if not photos.exists():
            width, height = PHOTO_SIZE
            draw(photos, self._scope.photos, width=width, height=height, suffix=".jpg", quality=90)
            warm(photos)
        return photos


def hold_race(
    names: Sequence[str], run: Callable[[str, int], tuple[Slot, float]], rounds: int, bases: Sequence[str]
) -> dict[str, Any]:
    """Give each contender a slot a round, in random order; `run` also gives the processor time."""
    order = random.Random(0)
    done = [run(name, index) for index in range(rounds) for name in order.sample(names, len(names))]
    slots = [slot for slot, _ in done]
    processor_s = {
        name: statistics.median(seconds / slot.iterations for slot, seconds in done if slot.contender == name)
        for name in names
    }
    return {
        "pace_s": {name: asdict(spread) for name, spread in paces(slots).items()},
        "processor_s": processor_s,
        "times_as_fast_as": {
            base: {name: asdict(spread) for name, spread in ratios(slots, base).items()} for base in bases
        },
        "slots": [asdict(slot) for slot in slots],
        "disturbed_slots": sum(not slot.clean for slot in slots),
    }


def subset(images: Path, folder: Path, count: int) -> Path:
    """A copy of so many of the images, spread over all of them, with their dates."""
    files = image_files(images)
    for index in range(count):
        path = files[index * len(files) // count]
        copy = folder / path.relative_to(images)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return folder


def warm(images: Path) -> int:
    """Read all images, so that they lie in the page cache; how many there are."""
    files = image_files(images)
    for path in files:
        path.read_bytes()
    return len(files)


def _packing(name: str, images: Path, folder: Path, image_size: int) -> dict[str, Any]:
    return {
        "measure": "pack", "name": name, "images": str(images), "destination": str(folder / "packed"),
        "image_size": image_size,
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument(
        "--files", type=Path, help="class folders of small images, in train/ and test/ or not; default: drawn"
    )
    parser.add_argument("--scope", choices=SCOPES, default="whole", help="quick: a minute or two; tiny: does it run")
    parser.add_argument("--rounds", type=int, help="of every race; default: the scope's")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated; default: all")
    parser.add_argument("--scratch", type=Path, help="where files are made and removed; default: the temporary folder")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
