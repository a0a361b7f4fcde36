"""Fidelity and diversity of generated images against real ones, as they are usually reported."""

from collections.abc import Iterable
from typing import assert_never

from ganlib.config import EvaluateOptions, GateFigure
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance
from ganlib.metrics.inception_score import inception_score
from ganlib.metrics.intervals import Sample, labels_of
from ganlib.metrics.kernel import kernel_distances
from ganlib.metrics.labels import estimate_diversity, label_fidelity
from ganlib.metrics.neighbourhood import NAMES, measure_neighbourhood


def measure(
    generated: Sample, real: Sample, figures: Iterable[GateFigure], options: EvaluateOptions
) -> dict[str, float]:
    """The figures by name, each biased by the number of images as all published ones are.

    FID (Heusel et al. 2017), KID (Bińkowski et al. 2018), IS (Salimans et al. 2016), improved precision
    and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), label
    fidelity (of the logits, which must be over the labels' classes) and diversity within classes.

    Args:
        generated: features and labels of the generated images.
        real: of the reference.
        figures: which.
        options: subset sizes, neighbours and the seed of the subsets.

    Raises:
        UserError: too few images for a figure, or labels it needs are missing.
    """
    wanted = list(figures)
    found: dict[str, float] = {}
    if set(wanted) & set(NAMES):
        sides = (("generated", generated), ("real", real))
        balls = (sample.balls(options.neighbours, side=side) for side, sample in sides)
        found |= vars(measure_neighbourhood(*balls))
    for figure in wanted:
        if figure not in found:
            found[figure] = _measure(figure, generated, real, options)
    return {figure: found[figure] for figure in wanted}


def _measure(figure: GateFigure, generated: Sample, real: Sample, options: EvaluateOptions) -> float:
    values, real_values = generated.features.values, real.features.values
    match figure:
        case "fid":
            return frechet_distance(FeatureStatistics.of(values), FeatureStatistics.of(real_values))
        case "kid":
            distances = kernel_distances(
                values,
                real_values,
                subsets=options.kid_subsets,
                subset_size=options.kid_subset_size,
                seed=options.seed,
            )
            return float(distances.mean())
        case "is":
            return inception_score(generated.features.logits, splits=options.is_splits, seed=options.seed)
        case "diversity":
            labels, real_labels = labels_of(generated, figure), labels_of(real, figure)
            return estimate_diversity(values, labels, real_values, real_labels).estimate
        case "label_fidelity":
            return label_fidelity(generated.features.logits, labels_of(generated, figure))
        case "precision" | "recall" | "density" | "coverage":
            raise AssertionError(figure)
        case _:
            assert_never(figure)
