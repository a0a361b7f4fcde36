"""Whether new images are like those known: a permutation test on the kernel distance of their features."""

from dataclasses import dataclass

import numpy as np
import torch

from ganlib.errors import UserError

LEAST = 20  # images of a side, below which no difference but a gross one is found


@dataclass(frozen=True)
class Drift:
    """What was found.

    Attributes:
        distance: unbiased squared maximum mean discrepancy with the cubic polynomial kernel, as KID.
        p_value: chance of a distance as high among images of one kind.
        new, known: images that were compared.
    """

    distance: float
    p_value: float
    new: int
    known: int


def permutation_test(new: torch.Tensor, known: torch.Tensor, *, permutations: int, seed: int) -> Drift:
    """Compare two sets of features with as many random divisions of all of them into two such sets.

    If both are drawn alike, p is at most a with a probability of at most a, for every a, whatever the features are
    (Gretton et al. 2012, section 5; the observed division counts as one: Phipson & Smyth 2010).

    Args:
        new: [N, D].
        known: [M, D]; of images that the extractor has not learned from.
        permutations: the smallest p is 1 over one more than this.
        seed: of the divisions.

    Raises:
        UserError: fewer than 20 images on a side.
    """
    n, m = len(new), len(known)
    if min(n, m) < LEAST:
        raise UserError(f"drift: found {n} new and {m} known images, expected {LEAST} of each or more")
    features = torch.cat([new, known]).double().numpy()
    kernel = (features @ features.T / features.shape[1] + 1) ** 3
    np.fill_diagonal(kernel, 0)  # no image is compared with itself
    chosen = np.zeros((permutations + 1, n + m))
    chosen[0, :n] = 1
    draw = np.random.default_rng(seed)
    for row in chosen[1:]:
        row[draw.permutation(n + m)[:n]] = 1
    sums = chosen @ kernel
    within = (sums * chosen).sum(axis=1)
    across = (sums * (1 - chosen)).sum(axis=1)
    others = kernel.sum() - within - 2 * across
    distances = within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)
    # Equal divisions may differ in the last digits.
    as_high = distances >= distances[0] - 1e-9 * abs(distances[0])
    return Drift(float(distances[0]), float(as_high.mean()), n, m)
