"""Nearest neighbours and distances of many feature vectors, in tiles of bounded memory."""

from collections.abc import Iterator

import torch

# Sides of a tile of distances: 32 MiB of them, and 80 MiB for the rows of 2,048 features that make it.
ROWS = 1024
COLUMNS = 4096
# Distances come from inner products in float64; what differs by less than this share counts as equal, so that ties
# (copies, images that are each other's neighbours) fall the same way however the rows are cut.
TIE = 1e-9


def square_tiles(
    a: torch.Tensor, b: torch.Tensor, *, own: bool = False, rows: int = ROWS, columns: int = COLUMNS
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Squared Euclidean distances, float64, of rows of `a` [N, D] and of `b` [M, D], tile by tile, row tiles outermost.

    For distances of a set with itself (`own`) that of a row to itself is exactly 0.
    """
    # Inner products lose digits where the origin is far away.
    centre = torch.stack([part.double().sum(dim=0) for part in torch.split(b, ROWS)]).sum(dim=0) / len(b)
    for top in range(0, len(a), rows):
        down = slice(top, min(top + rows, len(a)))
        block = a[down].double() - centre
        norms = block.square().sum(dim=1)
        for left in range(0, len(b), columns):
            across = slice(left, min(left + columns, len(b)))
            other = b[across].double() - centre
            squares = torch.addmm(other.square().sum(dim=1), block, other.T, alpha=-2)
            squares.add_(norms[:, None]).clamp_(min=0)
            if own:
                _diagonal(squares, down, across).fill_(0)
            yield down, across, squares


def _diagonal(squares: torch.Tensor, down: slice, across: slice) -> torch.Tensor:
    """The part of a tile that is on the diagonal of the whole, as a view; empty in most tiles."""
    first, last = max(down.start, across.start), min(down.stop, across.stop)
    common = slice(first - down.start, max(last, first) - down.start)
    return squares[common, first - across.start : max(last, first) - across.start].diagonal()


def nearest(
    a: torch.Tensor, b: torch.Tensor, count: int, *, own: bool = False, rows: int = ROWS, columns: int = COLUMNS
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` nearest rows of `b` [M, D] for each of `a` [N, D]: distances float64 and indices, [N, count], sorted.

    In a set's `own` neighbours no row is its own. Distances are
    taken anew from the differences, so that those of exact copies are 0.
    """
    others = len(b) - own
    assert 1 <= count <= others
    # One spare: rounding may have put the last two in the wrong order.
    spare = min(count + 1, others)
    distances = torch.empty(len(a), count, dtype=torch.float64)
    indices = torch.empty(len(a), count, dtype=torch.int64)
    best: tuple[torch.Tensor, torch.Tensor] | None = None
    for down, across, squares in square_tiles(a, b, own=own, rows=rows, columns=columns):
        if own:
            _diagonal(squares, down, across).fill_(torch.inf)
        near = squares.topk(min(spare, squares.shape[1]), largest=False)
        found = (near.values, near.indices + across.start)
        if best is not None:
            values, places = (torch.cat(pair, dim=1) for pair in zip(best, found, strict=True))
            kept = values.topk(min(spare, values.shape[1]), largest=False)
            found = (kept.values, places.gather(1, kept.indices))
        best = found
        if across.stop == len(b):
            distances[down], indices[down] = _sorted_exactly(a[down], b, found[1], count)
            best = None
    return distances, indices


def _sorted_exactly(
    a: torch.Tensor, b: torch.Tensor, indices: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    exact = torch.empty(indices.shape, dtype=torch.float64)
    for column in range(indices.shape[1]):
        exact[:, column] = (a.double() - b[indices[:, column]].double()).square().sum(dim=1).sqrt()
    # Sorted by index first: equally near ones come in the order of their indices.
    by_index = indices.argsort(dim=1)
    order = exact.gather(1, by_index).argsort(dim=1, stable=True)[:, :count]
    chosen = by_index.gather(1, order)
    return exact.gather(1, chosen), indices.gather(1, chosen)
