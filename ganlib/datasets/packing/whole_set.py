"""What only all images together tell: duplicates, and images on both sides of the split."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ganlib.config import DataOptions
from ganlib.datasets.packing.duplicates import HASH_BITS, near_pairs
from ganlib.datasets.packing.index import ORDER, Index
from ganlib.datasets.packing.parts import Case
from ganlib.errors import UserError


def find_duplicates(index: Index, options: DataOptions) -> int:
    """Note what `data.cleaning` says about pictures that occur more than once.

    The first in order stays: of both splits the training image, then by class,
    key and content. A picture is compared as a whole, and left out with all its tiles.

    Returns:
        How many of the test pictures that stay have a near duplicate among the training pictures.

    Raises:
        UserError: a policy says `fail`.
    """
    _exact(index, options)
    return _near(index, options)


def _exact(index: Index, options: DataOptions) -> None:
    query = (
        "SELECT id, sha256, split, name, label FROM image WHERE tile = 0 AND sha256 IN "
        "(SELECT sha256 FROM image WHERE tile = 0 GROUP BY sha256 HAVING COUNT(*) > 1) "
        f"ORDER BY sha256, {ORDER}"
    )
    first: tuple[Any, ...] | None = None
    for row in list(index.rows(query)):
        image, sha256, split, name, label = row
        if first is None or sha256 != first[1]:
            first = row
            continue
        kind = "exact_duplicate" if split == first[2] else "split_overlap"
        other = f", there in class {first[4]}" if label != first[4] else ""
        _leave_out(index, options, image, name, kind, f"the same picture as {first[3]}{other}")


def _near(index: Index, options: DataOptions) -> int:
    rows = index.number("SELECT COUNT(*) FROM image WHERE used AND tile = 0")
    ids = np.empty(rows, dtype=np.int64)
    hashes = np.empty((rows, HASH_BITS // 8), dtype=np.uint8)
    query = f"SELECT id, difference_hash FROM image WHERE used AND tile = 0 ORDER BY {ORDER}"
    for at, (image, difference_hash) in enumerate(index.rows(query)):
        ids[at] = image
        hashes[at] = np.frombuffer(difference_hash, dtype=np.uint8)
    # In order training pictures come first.
    training = index.number("SELECT COUNT(*) FROM image WHERE used AND tile = 0 AND split = 'train'")
    gone: set[int] = set()
    for earlier, later, differing in _nearest(near_pairs(hashes, options.cleaning.near_duplicate_bits)):
        if earlier in gone:
            continue
        (one, its_split), (other, split) = (_described(index, int(ids[at])) for at in (earlier, later))
        if options.cleaning.policy.near_duplicate == "drop":
            gone.add(later)
        beyond = "" if split == its_split else f", which is in the {its_split} split"
        detail = f"{differing} of {HASH_BITS} bits from {one}{beyond}"
        _leave_out(index, options, int(ids[later]), other, "near_duplicate", detail)
    across = {
        later
        for earlier, later, _ in near_pairs(hashes, options.cleaning.near_duplicate_bits)
        if earlier < training <= later and earlier not in gone
    }
    return len(across - gone)


def _nearest(pairs: Iterator[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """For each later row the earlier one that is most like it, in order of the later rows."""
    nearest: dict[int, tuple[int, int]] = {}
    for earlier, later, differing in pairs:
        nearest[later] = min(nearest.get(later, (differing, earlier)), (differing, earlier))
    return [(earlier, later, differing) for later, (differing, earlier) in sorted(nearest.items())]


def _described(index: Index, image: int) -> tuple[str, str]:
    name, split = next(index.rows("SELECT name, split FROM image WHERE id = ?", image))
    return name, split


def _leave_out(index: Index, options: DataOptions, image: int, name: str, kind: str, detail: str) -> None:
    action = options.cleaning.policy.action(kind)
    if action == "fail":
        raise UserError(
            f"data.cleaning.policy.{kind}=fail: {name}: {detail}; remove one of them or set the policy to drop or keep"
        )
    index.leave_out(image, Case(name, kind, action, detail))
