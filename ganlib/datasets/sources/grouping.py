"""Runs whose ends depend on what is in them, so that one more item moves few of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Entry = TypeVar("Entry")


def grouped(
    entries: Iterable[Entry],
    digest: Callable[[Entry], int],
    most: int,
    *,
    weight: Callable[[Entry], int] = lambda _: 0,
    heaviest: int = 1,
) -> Iterator[list[Entry]]:
    """Cut a sequence into groups of at most `most`, as content-defined chunking does.

    A group ends after the first entry, from a quarter of `most` on, whose
    digest is divisible by a quarter of `most`. So an entry put in or taken out
    changes its own group and seldom more than the next.

    Args:
        entries: in an order that does not depend on how many there are.
        digest: a whole number, evenly spread, of an entry's content.
        most: at least 1.
        weight: of an entry; a group of more than one weighs at most `heaviest`.
        heaviest: at least 1.
    """
    assert most >= 1
    least = max(1, most // 4)
    group: list[Entry] = []
    weighs = 0
    for entry in entries:
        if group and weighs + weight(entry) > heaviest:
            yield group
            group, weighs = [], 0
        group.append(entry)
        weighs += weight(entry)
        if len(group) == most or (len(group) >= least and digest(entry) % least == 0):
            yield group
            group, weighs = [], 0
    if group:
        yield group
