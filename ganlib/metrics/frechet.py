"""The Fréchet distance between Gaussians fitted to features."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean [D] and covariance [D, D] in float64 of feature vectors."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: torch.Tensor) -> "FeatureStatistics":
        """Of features [N, D], N at least 2."""
        assert features.ndim == 2
        assert len(features) >= 2
        values = features.numpy().astype(np.float64)
        return cls(values.mean(axis=0), np.cov(values, rowvar=False))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared 2-Wasserstein distance of two Gaussians (Heusel et al. 2017, eq. 6), computed by torch-fidelity."""
    # Imported here: the import takes seconds, and training measures only now and then.
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    one, other = ({"mu": s.mean, "sigma": s.covariance} for s in (a, b))
    return float(fid_statistics_to_metric(one, other, verbose=False)["frechet_inception_distance"])
