"""What grows with the number of images: the index, the search for near duplicates, the order, the shards."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import data_options, pack_folder
from ganlib.datasets.packing.duplicates import HASH_BITS, near_pairs
from ganlib.datasets.packing.index import ORDER, Index
from ganlib.datasets.packing.parts import DecodedImage, DecodedPart
from ganlib.datasets.packing.whole_set import find_duplicates

PART_IMAGES = 256
HASH_BYTES = HASH_BITS // 8
BATCH_SIZE = 64
BATCHES = 50


def index_rows(count: int, scratch: Path) -> dict[str, float]:
    """Seconds that the index takes for so many different images, step by step, and its bytes."""
    options = data_options(scratch)
    seconds = dict.fromkeys(("add", "settle", "duplicates", "in_order"), 0.0)
    with Index(scratch / "index.db", options) as index:
        for part in _parts(count):
            seconds["add"] += _timed(lambda part=part: index.add(part))
        seconds["settle"] = _timed(index.settle)
        seconds["duplicates"] = _timed(lambda: find_duplicates(index, options))
        query = (
            f"SELECT sha256, label_id, identity, row FROM image JOIN part ON part.id = part WHERE used ORDER BY {ORDER}"
        )
        seconds["in_order"] = _timed(lambda: sum(1 for _ in index.rows(query)))
        pages, page_bytes = index.number("PRAGMA page_count"), index.number("PRAGMA page_size")
    return {**seconds, "bytes": pages * page_bytes}


def _parts(count: int) -> Iterator[DecodedPart]:
    draws = np.random.default_rng(0)
    for start in range(0, count, PART_IMAGES):
        numbers = range(start, min(start + PART_IMAGES, count))
        yield DecodedPart(
            identity=draws.bytes(32).hex(),
            files=len(numbers),
            labels={},
            images=tuple(_image(at, draws) for at in numbers),
            cases=(),
        )


def _image(at: int, draws: np.random.Generator) -> DecodedImage:
    return DecodedImage(
        name=f"train/class{at % 10}/{at:09}.jpg", key=f"{at:09}", label=f"class{at % 10}", split=None, tile=0,
        sha256=draws.bytes(32), difference_hash=draws.bytes(HASH_BYTES), mode="RGB", width=1024, height=768, peak=None,
        sums=(8_000_000, 8_000_001, 8_000_002),
        square_sums=(1_000_000_000, 1_000_000_001, 1_000_000_002),
    )  # fmt: skip


def near_search(count: int, most_bits: int) -> dict[str, float]:
    """Seconds to search so many random hashes, of which one in a thousand is near another."""
    draws = np.random.default_rng(0)
    hashes = draws.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)
    planted = max(1, count // 1000)
    hashes[-planted:] = hashes[:planted]
    hashes[-planted:, 0] ^= 1
    found = 0

    def search() -> None:
        nonlocal found
        found = sum(1 for _ in near_pairs(hashes, most_bits))

    return {"seconds": _timed(search), "pairs": found, "planted": planted}


def permutation(count: int) -> dict[str, float]:
    """Seconds to make the order of one epoch."""
    from ganlib.datasets.packed.order import batch_indices

    return {"seconds": _timed(lambda: batch_indices(seed=0, seen_images=0, batch_size=1, size=count))}


def many_shards(images: Path, packed: Path) -> dict[str, float]:
    """A pack with one image a shard: seconds to open it, and for a random batch."""
    from ganlib.datasets.packed.reading import open_packed

    manifest = pack_folder(images, packed, shard_images=1)
    shards = sum(len(split.shards) for split in manifest.splits.values())
    start = time.perf_counter()
    train = open_packed(packed).train
    opened_s = time.perf_counter() - start
    batches = np.random.default_rng(0).integers(0, len(train), (BATCHES, BATCH_SIZE))

    def read() -> None:
        for batch in batches:
            train.take(batch)

    read()
    return {"shards": shards, "open_s": opened_s, "batch_s": _timed(read) / BATCHES}


def _timed(action: Any) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
