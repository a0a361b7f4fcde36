"""Do the smallest values of two samples together come from one of them more often than chance would have it?"""

import numpy as np
import torch
from numpy.typing import NDArray

# The smallest of all values that are looked at: 2 %, and no fewer than 10.
TAIL_SHARE, TAIL_LEAST = 0.02, 10
PERMUTATIONS = 20_000


def tail_p_value(values: NDArray[np.float64], others: NDArray[np.float64], *, seed: int) -> float:
    """Exact p-value of so many of `values` among the smallest of all, however many smallest are looked at.

    For each of some 40 lengths of the tail, the hypergeometric chance of as
    many of `values` in it; the smallest chance is compared with that of random
    permutations of the two samples, so looking at many lengths costs no false alarm. Needs no
    assumption but that under the hypothesis both are drawn alike.

    Args:
        values: [N].
        others: [M].
        seed: of the permutations.
    """
    n, m = len(values), len(others)
    draw = np.random.default_rng(seed)
    longest = min(max(TAIL_LEAST, round(TAIL_SHARE * (n + m))), n + m)
    lengths = np.unique(np.geomspace(1, longest, 40).round().astype(np.int64))
    everything = np.concatenate([values, others])
    # Ties in random order.
    order = np.lexsort((draw.random(n + m), everything))[:longest]
    chances = _chances(lengths, n, m)
    found = chances[np.arange(len(lengths)), np.cumsum(order < n)[lengths - 1]].min()

    drawn = np.zeros(PERMUTATIONS, dtype=np.int64)
    least = np.ones(PERMUTATIONS)
    place = 0
    for position in range(longest):
        drawn += draw.random(PERMUTATIONS) * (n + m - position) < n - drawn
        if position + 1 == lengths[place]:
            np.minimum(least, chances[place, drawn], out=least)
            place += 1
    # The sample itself is one of the permutations.
    return float((1 + (least <= found * (1 + 1e-9)).sum()) / (1 + PERMUTATIONS))


def _chances(lengths: NDArray[np.int64], n: int, m: int) -> NDArray[np.float64]:
    """P(at least k of n among the first L of n + m), [lengths, longest + 1] by L and k."""
    k = torch.arange(int(lengths[-1]) + 1, dtype=torch.float64)
    rows = []
    for length in lengths.tolist():
        logs = _log_choose(n, k) + _log_choose(m, length - k) - _log_choose(n + m, torch.tensor(float(length)))
        rows.append(logs.exp().flip(0).cumsum(0).flip(0).clamp(max=1))
    return torch.stack(rows).numpy()


def _log_choose(of: int, count: torch.Tensor) -> torch.Tensor:
    possible = (count >= 0) & (count <= of)
    safe = count.clamp(0, of).double()
    total = torch.lgamma(torch.tensor(of + 1.0, dtype=torch.float64))
    logs = total - torch.lgamma(safe + 1) - torch.lgamma(of - safe + 1)
    return torch.where(possible, logs, -torch.inf)
