"""Label fidelity and diversity within classes, on constructed sets."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from ganlib.errors import UserError
from ganlib.metrics.estimates import difference_of_intervals
from ganlib.metrics.labels import (
    class_table,
    estimate_diversity,
    label_fidelity,
    label_fidelity_interval,
)

LABELS = torch.arange(200) % 4


def logits_with(wrong: int) -> torch.Tensor:
    """The first images of class 0 taken for class 1, everything else right."""
    logits = torch.eye(4)[LABELS]
    logits[torch.arange(0, 4 * wrong, 4)] = torch.eye(4)[1]
    return logits


def test_fidelity_and_its_interval() -> None:
    assert label_fidelity(logits_with(10), LABELS) == 0.95
    found = label_fidelity_interval(logits_with(10), LABELS, 0.95)
    assert found.low < 0.95 < found.high
    assert found.high < 1
    perfect = label_fidelity_interval(logits_with(0), LABELS, 0.95)
    assert (perfect.estimate, perfect.high) == (1, pytest.approx(1))
    assert 0.95 < perfect.low < 1
    worse = difference_of_intervals(found, perfect)
    assert worse.low < -0.05 < worse.high < 0
    with pytest.raises(UserError, match="needs at least 20 generated images, found 8"):
        label_fidelity_interval(logits_with(0)[:8], LABELS[:8], 0.95)


def test_the_interval_of_fixed_classes_is_shorter_than_of_classes_by_chance() -> None:
    """All mistakes in one class, which is always wrong: nothing is left to chance but that class."""
    concentrated = label_fidelity_interval(logits_with(50), LABELS, 0.95)
    spread = torch.eye(4)[LABELS]
    spread[:50] = spread[:50].roll(1, dims=1)
    scattered = label_fidelity_interval(spread, LABELS, 0.95)
    assert concentrated.estimate == scattered.estimate == 0.75
    assert concentrated.high - concentrated.low < 0.6 * (scattered.high - scattered.low)


def features(scale: float, seed: int, count: int = 200) -> torch.Tensor:
    labels = np.arange(count) % 4
    return torch.from_numpy(10.0 * labels[:, None] + scale * np.random.default_rng(seed).normal(size=(count, 5)))


def test_diversity_is_the_ratio_of_mean_distances_within_classes() -> None:
    generated, real = features(0.5, 0), features(1.0, 1)
    found = estimate_diversity(generated, LABELS, real, LABELS)
    means = [np.mean([pdist(side[c == LABELS].numpy()).mean() for c in range(4)]) for side in (generated, real)]
    assert found.estimate == pytest.approx(means[0] / means[1], rel=1e-9)
    assert found.estimate == pytest.approx(0.5, rel=0.1)
    spread = np.std(
        [estimate_diversity(features(0.5, s), LABELS, features(1, 500 + s), LABELS).estimate for s in range(60)]
    )
    assert found.standard_error == pytest.approx(spread, rel=0.35)


def test_collapsed_classes_have_no_diversity() -> None:
    collapsed = features(0.0, 0)
    assert estimate_diversity(collapsed, LABELS, features(1.0, 1), LABELS).estimate == pytest.approx(0, abs=1e-6)
    with pytest.raises(UserError, match="found the same features for all real images"):
        estimate_diversity(features(1.0, 1), LABELS, collapsed, LABELS)
    with pytest.raises(UserError, match="found no class that both"):
        estimate_diversity(collapsed, LABELS, collapsed, LABELS + 9)
    with pytest.raises(UserError, match=r"class 0 needs at least 4 generated images, found 1; raise evaluate\.samples"):
        estimate_diversity(collapsed[:3], LABELS[:3], features(1.0, 1), LABELS)


def test_the_table_names_each_class() -> None:
    real_labels = LABELS[LABELS != 3]
    rows = class_table(
        logits_with(10),
        features(0.5, 0),
        LABELS,
        features(1.0, 1)[LABELS != 3],
        real_labels,
        names=["a", "b", "c", "d"],
        level=0.95,
    )
    assert [row.name for row in rows] == ["a", "b", "c", "d"]
    assert [row.fidelity.estimate for row in rows] == [0.8, 1, 1, 1]
    assert [(row.generated, row.real) for row in rows] == [(50, 50), (50, 50), (50, 50), (50, 0)]
    assert rows[0].diversity == pytest.approx(0.5, rel=0.15)
    assert rows[3].diversity is None
