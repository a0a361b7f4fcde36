"""The Fréchet distance between Gaussians fitted to features."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.errors import UserError

# Rows turned into float64 at a time: 16 MiB at 2,048 features.
ROWS = 1024
CPU = torch.device("cpu")


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean [D] and covariance [D, D] in float64 of feature vectors."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: torch.Tensor, weights: torch.Tensor | None = None) -> "FeatureStatistics":
        """Of features [N, D], in blocks of rows; two passes, so that a mean far from zero costs no digits.

        With weights [N] it is as if each row had been drawn so often: for shares other than the rows' own. The
        covariance is unbiased all the same.

        Raises:
            UserError: fewer than 2 rows, of which there is no covariance.
        """
        assert features.ndim == 2
        if len(features) < 2:
            raise UserError(f"features: a covariance needs at least 2 images, found {len(features)}; provide more")
        rows = torch.ones(len(features), dtype=torch.float64) if weights is None else weights.double()
        blocks = list(zip(torch.split(features, ROWS), torch.split(rows[:, None], ROWS), strict=True))
        total = rows.sum()
        mean = torch.stack([(block.double() * weight).sum(dim=0) for block, weight in blocks]).sum(dim=0) / total
        covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
        for block, weight in blocks:
            centred = block.double() - mean
            covariance.addmm_((centred * weight).T, centred)
        return cls(mean.numpy(), (covariance / (total - rows.square().sum() / total)).numpy())


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared 2-Wasserstein distance of two Gaussians (Heusel et al. 2017, eq. 6), computed by torch-fidelity."""
    # Imported here: the import takes seconds, and training measures only now and then.
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    one, other = ({"mu": s.mean, "sigma": s.covariance} for s in (a, b))
    return float(fid_statistics_to_metric(one, other, verbose=False)["frechet_inception_distance"])


class FrechetReference:
    """One side of many Fréchet distances, its square root taken once.

    With R Rᵀ = Σ_real the trace term is the sum of the singular values of
    X R, X being the centred generated features over √(N - 1): symmetric
    eigenvalues of a D x D matrix, or of an N x N one where N is below D.
    """

    def __init__(
        self, real: FeatureStatistics, root: NDArray[np.float64] | None = None, *, device: torch.device = CPU
    ) -> None:
        """`device` finds the eigenvalues."""
        self.statistics = real
        self.device = device
        self.root = covariance_root(real.covariance) if root is None else root

    @classmethod
    def of(cls, features: torch.Tensor, *, device: torch.device = CPU) -> "FrechetReference":
        """To features [M, D]; where M is below D, R is the centred features over √(M - 1) and costs nothing.

        Raises:
            UserError: fewer than 2 rows.
        """
        real = FeatureStatistics.of(features)
        count, dimensions = features.shape
        if count >= dimensions:
            return cls(real, device=device)
        return cls(real, (features.double().numpy() - real.mean).T / np.sqrt(count - 1), device=device)

    def distance(self, generated: FeatureStatistics) -> float:
        """To the Gaussian with these statistics."""
        return self._distance(generated.mean, float(np.trace(generated.covariance)), self._inner(generated.covariance))

    def distance_to(self, features: torch.Tensor) -> float:
        """To features [N, D], N at least 2; the cheaper way where N is below D.

        Raises:
            UserError: fewer than 2 rows.
        """
        count, dimensions = features.shape
        if count >= dimensions or count < 2:
            return self.distance(FeatureStatistics.of(features))
        values = features.double().numpy()
        mean = values.mean(axis=0)
        centred = (values - mean) / np.sqrt(count - 1)
        inner = centred @ self.root
        return self._distance(mean, float(np.square(centred).sum()), inner @ inner.T)

    def _inner(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self.root.T @ covariance @ self.root)

    def _distance(self, mean: NDArray[np.float64], trace: float, inner: NDArray[np.float64]) -> float:
        shift = mean - self.statistics.mean
        overlap = np.sqrt(_without_rounding(_eigenvalues(inner, self.device))).sum()
        return float(shift @ shift + trace + np.trace(self.statistics.covariance) - 2 * overlap)


def _eigenvalues(symmetric: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
    """[D], ascending."""
    if device.type == "cpu":  # where NumPy's threads are not those of PyTorch, which are few
        return np.asarray(np.linalg.eigvalsh(symmetric), np.float64)
    return np.asarray(torch.linalg.eigvalsh(torch.from_numpy(symmetric).to(device)).cpu())


def covariance_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """R [D, D] with R Rᵀ = covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(_without_rounding(values)))


def _without_rounding(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Eigenvalues [D], ascending; 0 where rounding may have made them.

    Dead features have none, and the root of what rounding leaves of them would be a millionth of the distance.
    """
    return np.where(values > len(values) * np.finfo(np.float64).eps * values[-1], values, 0.0)
