"""What a conditional generator makes of each class: the right one, and how varied."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import LEAST_IMAGES
from ganlib.errors import UserError
from ganlib.metrics.distances import square_tiles
from ganlib.metrics.estimates import (
    Interval,
    TwoSampleEstimate,
    effective_count,
    members_of,
    require,
    share_interval,
)


@dataclass(frozen=True)
class ClassRow:
    """One class of a table.

    Attributes:
        name: of the class.
        generated, real: images of it on each side.
        fidelity: share of the generated ones that the classifier takes for it, with its interval.
        diversity: mean distance within the class, generated over real; None where a side has fewer than two images.
    """

    name: str
    generated: int
    real: int
    fidelity: Interval
    diversity: float | None


def label_fidelity(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images that the classifier takes for the class asked of the generator.

    Args:
        logits: [N, K], N at least 1.
        labels: the classes asked for, [N], 0 to K - 1.
    """
    return float(_right(logits, labels).mean())


def label_fidelity_interval(logits: torch.Tensor, labels: torch.Tensor, level: float) -> Interval:
    """Of the label fidelity for fresh images of the same classes.

    So many images of each class vary less than as many of classes drawn by
    chance, so each class's variance is taken by itself (with half a success and half a
    failure added, so that a class without mistakes is not taken to be without risk).

    Raises:
        UserError: fewer than 20 images.
    """
    right = _right(logits, labels)
    require("label fidelity", {"generated": len(right)}, LEAST_IMAGES, "its interval")
    variance = 0.0
    for _, members in members_of(labels):
        chance = (right[members].sum() + 0.5) / (len(members) + 1)
        variance += len(members) * chance * (1 - chance) / len(right) ** 2
    share = float(right.mean())
    count = max(effective_count(share, variance, len(right)), float(len(right)))
    return share_interval(share, count, level)


def estimate_diversity(
    generated: torch.Tensor, labels: torch.Tensor, real: torch.Tensor, real_labels: torch.Tensor
) -> TwoSampleEstimate:
    """Intra-class diversity: mean pairwise distance within a class, mean over classes, generated over real.

    1 for equal distributions, 0 where each class is one image. Over the
    classes that both sides have; the variance between classes plays no part.

    Args:
        generated: [N, D].
        labels: [N].
        real: [M, D].
        real_labels: [M].

    Raises:
        UserError: a class has fewer than 4 images on a side that has it, or real images of it are all the same.
    """
    classes = np.intersect1d(labels.numpy(), real_labels.numpy())
    if len(classes) == 0:
        raise UserError("diversity: found no class that both generated and real images have; generate the data's own")
    spread, influence = _mean_spread(generated, labels, classes, "generated")
    real_spread, real_influence = _mean_spread(real, real_labels, classes, "real")
    if real_spread == 0:
        raise UserError("diversity: found the same features for all real images of each class; use another extractor")
    ratio = spread / real_spread
    return TwoSampleEstimate(ratio, influence / real_spread, -ratio * real_influence / real_spread)


def class_table(
    logits: torch.Tensor,
    generated: torch.Tensor,
    labels: torch.Tensor,
    real: torch.Tensor,
    real_labels: torch.Tensor,
    *,
    names: Sequence[str],
    level: float,
) -> list[ClassRow]:
    """Fidelity and diversity of each class asked for, in the order of `names`; classes not generated are left out.

    Args:
        logits: of the generated images, [N, K], K being the length of `names`.
        generated: their features, [N, D].
        labels: the classes asked for, [N].
        real: features, [M, D].
        real_labels: [M].
        names: of the classes.
        level: of the intervals.
    """
    right = _right(logits, labels)
    real_members = dict(members_of(real_labels))
    rows = []
    for label, members in members_of(labels):
        others = real_members.get(label, np.array([], dtype=np.int64))
        diversity = None
        if len(members) >= 2 and len(others) >= 2:
            apart = _spread(real, others)[0]
            diversity = _spread(generated, members)[0] / apart if apart > 0 else None
        fidelity = share_interval(float(right[members].mean()), len(members), level)
        rows.append(ClassRow(names[label], len(members), len(others), fidelity, diversity))
    return rows


def _right(logits: torch.Tensor, labels: torch.Tensor) -> NDArray[np.float64]:
    assert len(logits) == len(labels) > 0
    return np.asarray((logits.argmax(dim=1) == labels).double().numpy())


def _mean_spread(
    features: torch.Tensor, labels: torch.Tensor, classes: NDArray[np.int64], side: str
) -> tuple[float, NDArray[np.float64]]:
    influence = np.zeros(len(features))
    spreads = []
    for label in classes:
        members = np.flatnonzero(labels.numpy() == label)
        require("diversity", {side: len(members)}, 4, f"the distance within class {label}")
        spread, means = _spread(features, members)
        # A class of n images among N: influences are scaled so that their mean square over N gives its variance.
        influence[members] = 2 * (means - spread) * len(features) / (len(members) * len(classes))
        spreads.append(spread)
    return float(np.mean(spreads)), influence


def _spread(features: torch.Tensor, members: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """Mean distance of all pairs, and of each image to the others [n]."""
    chosen = features[torch.from_numpy(members)]
    means = np.zeros(len(chosen))
    for down, _, squares in square_tiles(chosen, chosen, own=True):
        means[down] += squares.sqrt().sum(dim=1).numpy() / (len(chosen) - 1)
    return float(means.mean()), means
