"""How sure each figure is, and how sure a difference of two generators on the same real images.

The percentile bootstrap is not used: it adds the bias of FID a second time
and gives every image a twin at distance zero, which neighbourhoods take for
structure. FID, KID, IS and diversity have closed-form influences; precision,
recall, density and coverage are measured on random halves; label fidelity is
a share.
"""

from collections.abc import Iterable
from dataclasses import dataclass
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
    quantile,
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
            Chance then has less to do; taken for drawn by chance, FID would come out too low.
    """

    features: Features
    labels: torch.Tensor | None
    stratified: bool

    @property
    def strata(self) -> torch.Tensor | None:
        """The classes whose sizes are fixed."""
        return self.labels if self.stratified else None


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
    return log_interval(found.estimate, found.standard_error, confidence.level)


def _estimate(metric: GateFigure, generated: Sample, real: Sample, confidence: Confidence) -> TwoSampleEstimate:
    values, real_values = generated.features.values, real.features.values
    strata = {"strata": generated.strata, "real_strata": real.strata}
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
    figures, halves = _figures_and_halves([generated], real, confidence)
    variances = np.square(halves[:, 0]).mean(axis=0)
    counts = len(generated.features), len(real.features)
    return {
        name: _neighbourhood_interval(name, figures[0, place], variances[place], counts, confidence)
        for place, name in enumerate(NAMES)
    }


def _neighbourhood_differences(models: list[Sample], real: Sample, confidence: Confidence) -> dict[str, Interval]:
    figures, halves = _figures_and_halves(models, real, confidence)
    variances = np.square(halves).mean(axis=0)
    found: dict[str, Interval] = {}
    for place, name in enumerate(NAMES):
        norm = sqrt(variances[0, place] * variances[1, place])
        correlation = float((halves[:, 0, place] * halves[:, 1, place]).mean()) / norm if norm > 0 else 0.0
        one, other = (
            _neighbourhood_interval(
                name,
                figures[index, place],
                variances[index, place],
                (len(model.features), len(real.features)),
                confidence,
            )
            for index, model in enumerate(models)
        )
        found[name] = difference_of_intervals(one, other, correlation)
    return found


def _figures_and_halves(
    models: list[Sample], real: Sample, confidence: Confidence
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The four figures, [models, 4], and their `half_differences`, [splits, models, 4]."""
    halves = half_differences(
        [(model.features.values, model.strata) for model in models],
        (real.features.values, real.strata),
        confidence.neighbours,
        splits=confidence.splits,
        seed=confidence.seed,
    )
    real_balls = Balls.of(real.features.values, confidence.neighbours, side="real")
    found = [
        measure_neighbourhood(Balls.of(model.features.values, confidence.neighbours, side="generated"), real_balls)
        for model in models
    ]
    return np.array([[one.precision, one.recall, one.density, one.coverage] for one in found]), halves


def _neighbourhood_interval(
    name: str, figure: float, variance: float, counts: tuple[int, int], confidence: Confidence
) -> Interval:
    if name == "density":
        half = quantile(confidence.level, degrees=confidence.splits) * sqrt(variance)
        return Interval(float(figure), max(float(figure) - half, 0.0), float(figure) + half, confidence.level)
    # Neighbours only make a share vary more than one of independent images.
    most = counts[0] if name == "precision" else counts[1]
    trials = min(effective_count(float(figure), float(variance), min(counts)), float(most))
    return share_interval(float(figure), trials, confidence.level, degrees=confidence.splits)
