"""How sure each figure is, and how sure a difference of two generators on the same real images.

The percentile bootstrap is not used: it adds the bias of FID a second time
and gives every image a twin at distance zero, which neighbourhoods take for
structure. FID, KID, IS and diversity have closed-form influences; precision,
recall, density and coverage are measured on random halves; label fidelity is
a share.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import GateFigure
from ganlib.errors import UserError
from ganlib.metrics.estimates import (
    Interval,
    TwoSampleEstimate,
    difference_of_intervals,
    distance_interval,
    effective_count,
    log_interval,
    normal_interval,
    score_interval,
    share_interval,
)
from ganlib.metrics.extractors import Features
from ganlib.metrics.frechet_inference import estimate_frechet
from ganlib.metrics.inception_score import estimate_inception_score
from ganlib.metrics.kernel import estimate_kernel_distance
from ganlib.metrics.labels import estimate_diversity, label_fidelity_interval
from ganlib.metrics.neighbourhood import NAMES, Balls, half_differences, measure_neighbourhood


@dataclass(frozen=True)
class Sample:
    """Images of one side as the metrics see them.

    Attributes:
        features: of the images.
        labels: their classes, for generated ones those asked for, [N]; None where there are none.
        stratified: so many of each class were taken on purpose, as of a conditional generator, not drawn by chance.
            Chance then has less to do; taken for drawn by chance, FID would come out too low. Real images are
            stratified where such generated ones were given their class shares; beside others this means nothing.
    """

    features: Features
    labels: torch.Tensor | None
    stratified: bool
    _balls: dict[int, Balls] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def strata(self) -> torch.Tensor | None:
        """The classes whose sizes are fixed, [N]; those of one image are taken together, or with the next smallest one.

        A single image says nothing of how its class varies (collapsed strata, Cochran 1977, section 5A.12).
        """
        if not self.stratified or self.labels is None:
            return None
        counts = torch.bincount(self.labels)
        single = int((counts == 1).sum())
        if not single:
            return self.labels
        by_size = counts.argsort(stable=True)
        together = by_size[counts[by_size] > 0][: max(single, 2)]
        return torch.where(torch.isin(self.labels, together), together[0], self.labels)

    def balls(self, neighbours: int, *, side: str) -> Balls:
        """Around each image; found once for all figures, as it takes as long as a comparison of both sides.

        Raises:
            UserError: not enough images for a k-th neighbour.
        """
        if neighbours not in self._balls:
            self._balls[neighbours] = Balls.of(self.features.values, neighbours, side=side)
        return self._balls[neighbours]


@dataclass(frozen=True)
class Confidence:
    """How intervals are made.

    Attributes:
        level: 0.95 for 19 of 20 intervals to hold the truth.
        neighbours: k of precision, recall, density and coverage.
        splits: random halvings their variance is measured on, 20 or more; 60 leave 9 % of error in the half-width.
        seed: of everything drawn.
    """

    level: float
    neighbours: int
    splits: int
    seed: int


def intervals(
    generated: Sample, real: Sample, metrics: Iterable[GateFigure], confidence: Confidence
) -> dict[str, Interval]:
    """Where each metric lies for the generator and the real distribution, both seen through samples.

    FID, KID and IS are those of infinite samples; precision, recall, density
    and coverage are the means over samples of the same sizes, which they depend on.

    Args:
        generated: [N, D] features.
        real: [M, D] features.
        metrics: which; label fidelity and diversity need labels.
        confidence: the level, and what else decides the result.

    Raises:
        UserError: too few images for a metric, or labels it needs are missing.
    """
    wanted = list(metrics)
    found: dict[str, Interval] = {}
    if set(wanted) & set(NAMES):
        found |= _neighbourhood_intervals(generated, real, confidence)
    for metric in wanted:
        if metric not in NAMES:
            found[metric] = _interval(metric, generated, real, confidence)
    return {metric: found[metric] for metric in wanted}


def difference(
    challenger: Sample, champion: Sample, real: Sample, metric: GateFigure, confidence: Confidence
) -> Interval:
    """Of one metric; see `differences`."""
    return differences(challenger, champion, real, [metric], confidence)[metric]


def differences(
    challenger: Sample, champion: Sample, real: Sample, metrics: Iterable[GateFigure], confidence: Confidence
) -> dict[str, Interval]:
    """Of each metric, challenger less champion, on the same real images, whose chance is common to both.

    Args:
        challenger: [N, D] features.
        champion: [N', D] features, generated independently of the challenger's.
        real: [M, D] features.
        metrics: which; label fidelity and diversity need labels.
        confidence: the level, and what else decides the result.

    Raises:
        UserError: too few images for a metric, or labels it needs are missing.
    """
    wanted = list(metrics)
    found: dict[str, Interval] = {}
    if set(wanted) & set(NAMES):
        found |= _neighbourhood_differences([challenger, champion], real, confidence)
    for metric in wanted:
        if metric not in NAMES:
            found[metric] = _difference(challenger, champion, real, metric, confidence)
    return {metric: found[metric] for metric in wanted}


def _difference(
    challenger: Sample, champion: Sample, real: Sample, metric: GateFigure, confidence: Confidence
) -> Interval:
    if metric == "label_fidelity":
        one, other = (_interval(metric, model, real, confidence) for model in (challenger, champion))
        return difference_of_intervals(one, other)
    first, second = (_estimate(metric, model, real, confidence) for model in (challenger, champion))
    error = first.standard_error_of_difference(second)
    return normal_interval(first.estimate - second.estimate, error, confidence.level)


def _interval(metric: GateFigure, generated: Sample, real: Sample, confidence: Confidence) -> Interval:
    if metric == "label_fidelity":
        return label_fidelity_interval(generated.features.logits, labels_of(generated, metric), confidence.level)
    found = _estimate(metric, generated, real, confidence)
    if metric in ("fid", "kid"):
        return distance_interval(found, confidence.level)
    if metric == "is":
        return score_interval(found, confidence.level)
    return log_interval(found.estimate, found.standard_error, confidence.level)


def _estimate(metric: GateFigure, generated: Sample, real: Sample, confidence: Confidence) -> TwoSampleEstimate:
    values, real_values = generated.features.values, real.features.values
    strata = {"strata": generated.strata, "real_strata": real.strata if generated.stratified else None}
    match metric:
        case "fid":
            return estimate_frechet(values, real_values, seed=confidence.seed, **strata)
        case "kid":
            return estimate_kernel_distance(values, real_values, seed=confidence.seed, **strata)
        case "is":
            return estimate_inception_score(generated.features.logits, strata=generated.strata)
        case "diversity":
            labels, real_labels = labels_of(generated, metric), labels_of(real, metric)
            return estimate_diversity(values, labels, real_values, real_labels)
        case "precision" | "recall" | "density" | "coverage" | "label_fidelity":
            raise AssertionError(metric)
        case _:
            assert_never(metric)


def labels_of(sample: Sample, metric: str) -> torch.Tensor:
    """The classes of a sample's images, [N].

    Raises:
        UserError: there are none.
    """
    if sample.labels is None:
        mend = "use a conditional generator and labelled data"
        raise UserError(f"{metric}: needs the class of each image, found none; {mend}")
    return sample.labels


def _neighbourhood_intervals(generated: Sample, real: Sample, confidence: Confidence) -> dict[str, Interval]:
    return dict(zip(NAMES, _neighbourhood_rows([generated], real, confidence)[0][0], strict=True))


def _neighbourhood_differences(models: list[Sample], real: Sample, confidence: Confidence) -> dict[str, Interval]:
    (ones, others), halves = _neighbourhood_rows(models, real, confidence)
    found: dict[str, Interval] = {}
    for place, (name, one, other) in enumerate(zip(NAMES, ones, others, strict=True)):
        first, second = halves[:, 0, place], halves[:, 1, place]
        norm = sqrt(float(np.square(first).mean() * np.square(second).mean()))
        found[name] = difference_of_intervals(one, other, float((first * second).mean()) / norm if norm > 0 else 0.0)
    return found


def _neighbourhood_rows(
    models: list[Sample], real: Sample, confidence: Confidence
) -> tuple[list[list[Interval]], NDArray[np.float64]]:
    """Each model's intervals in the order of NAMES, and the `half_differences`, [splits, models, 4]."""
    halves, middles = half_differences(
        [(model.features.values, model.strata) for model in models],
        (real.features.values, real.strata if all(model.stratified for model in models) else None),
        confidence.neighbours,
        splits=confidence.splits,
        seed=confidence.seed,
    )
    variances = np.square(halves).mean(axis=0)
    real_balls = real.balls(confidence.neighbours, side="real")
    rows = []
    for index, model in enumerate(models):
        found = measure_neighbourhood(model.balls(confidence.neighbours, side="generated"), real_balls)
        row = []
        for place, name in enumerate(NAMES):
            figure, variance = getattr(found, name), float(variances[index, place])
            if name == "density":
                row.append(log_interval(figure, sqrt(variance), confidence.level, degrees=confidence.splits))
            else:
                # Neighbours only make a share vary more than one of independent images.
                most = len(model.features if name == "precision" else real.features)
                trials = min(effective_count(float(middles[index, place]), variance, most), float(most))
                row.append(share_interval(figure, trials, confidence.level, degrees=confidence.splits))
        rows.append(row)
    return rows, halves
