"""Groups cut by content: complete, bounded, and steady when something is put in."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from ganlib.datasets.sources.grouping import grouped


def digest(entry: int) -> int:
    return int.from_bytes(hashlib.sha256(str(entry).encode()).digest()[:8], "big")


@given(entries=st.lists(st.integers(), max_size=300), most=st.integers(1, 40))
def test_groups_are_the_sequence_cut(entries: list[int], most: int) -> None:
    groups = list(grouped(entries, digest, most))
    assert [entry for group in groups for entry in group] == entries
    assert all(len(group) <= most for group in groups)
    assert all(len(group) >= most // 4 for group in groups[:-1])


def test_one_more_entry_changes_few_groups() -> None:
    entries = list(range(0, 100_000, 2))
    before = {tuple(group) for group in grouped(entries, digest, 256)}
    changed = []
    for new in range(1, 99_999, 5_000):
        after = [tuple(group) for group in grouped(sorted([*entries, new]), digest, 256)]
        changed.append(len([group for group in after if group not in before]))
    assert len(before) > 300
    assert sum(changed) / len(changed) < 4


def test_sizes_are_about_half_of_the_most() -> None:
    sizes = [len(group) for group in grouped(range(100_000), digest, 400)]
    assert 150 < sum(sizes) / len(sizes) < 250
