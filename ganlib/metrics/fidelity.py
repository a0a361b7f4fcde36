"""Fidelity and diversity of generated features against real ones."""

from collections.abc import Mapping

import numpy as np
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from ganlib.config import EvaluateOptions
from ganlib.metrics.extractors import Features
from ganlib.metrics.frechet import FeatureStatistics, frechet_distance

ROWS = 2048


def measure(
    generated: Features, real: Features, labels: torch.Tensor | None, options: EvaluateOptions
) -> dict[str, float]:
    """Every metric of one draw.

    FID, KID (Bińkowski et al. 2018), IS (Salimans et al. 2016) and improved
    precision and recall (Kynkäänniemi et al. 2019) are torch-fidelity's.

    Args:
        generated: features of the generated images.
        real: features of the reference split.
        labels: the classes asked of a conditional generator, [N], when the logits are over these classes.
        options: sample counts, subset sizes, neighbours and the seed of the subsets.
    """
    score = isc_features_to_metric(generated.logits, options.is_splits, True, options.seed)
    kid = kid_features_to_metric(
        generated.values.double(),
        real.values.double(),
        kid_subsets=options.kid_subsets,
        kid_subset_size=options.kid_subset_size,
        rng_seed=options.seed,
        verbose=False,
    )
    neighbourhood = prc_features_to_metric(
        generated.values,
        real.values,
        prc_neighborhood=options.neighbours,
        prc_batch_size=ROWS,
        save_cpu_ram=True,
        verbose=False,
    )
    figures = {
        "fid": frechet_distance(FeatureStatistics.of(generated.values), FeatureStatistics.of(real.values)),
        "kid": kid["kernel_inception_distance_mean"],
        "is": score["inception_score_mean"],
        "precision": neighbourhood["precision"],
        "recall": neighbourhood["recall"],
        "coverage": coverage(generated.values, real.values, options.neighbours),
    }
    if labels is not None:
        figures["label_fidelity"] = (generated.logits.argmax(dim=1) == labels).double().mean().item()
    return figures


def coverage(generated: torch.Tensor, real: torch.Tensor, neighbours: int) -> float:
    """Share of real samples with a generated one inside their k-nearest-neighbour ball (Naeem et al. 2020, eq. 6).

    Args:
        generated: [N, D].
        real: [M, D], M above `neighbours`.
        neighbours: k; the sample itself does not count.
    """
    covered = 0
    for rows in torch.split(real, ROWS):
        radius = torch.cdist(rows, real).kthvalue(neighbours + 1, dim=1).values
        nearest = torch.cdist(rows, generated).amin(dim=1)
        covered += int((nearest <= radius).sum())
    return covered / len(real)


def spread(draws: list[dict[str, float]]) -> Mapping[str, tuple[float, float | None]]:
    """Mean and standard deviation of each metric over independent draws (None for a single one)."""
    return {
        name: (
            float(np.mean([draw[name] for draw in draws])),
            float(np.std([draw[name] for draw in draws], ddof=1)) if len(draws) > 1 else None,
        )
        for name in draws[0]
    }
