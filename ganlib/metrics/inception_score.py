"""Inception score: how sure a classifier is of each image, and how many classes it sees in all of them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import LEAST_IMAGES
from ganlib.errors import UserError
from ganlib.metrics.estimates import TwoSampleEstimate, centred, members_of, require

ROWS = 4096
LEAST_LOGARITHM = -1000.0
# Of logits below the highest: what is less likely has a share of 0 in float64, of which torch-fidelity makes NaN.
LEAST_LOGIT = -700.0


def inception_score(logits: torch.Tensor, *, splits: int, seed: int) -> float:
    """Mean over `splits` parts of exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016, section 4), by torch-fidelity.

    Args:
        logits: [N, K].
        splits: 1 to N.
        seed: of the shuffle before they are parted.

    Raises:
        UserError: fewer images than two for each part, or no classes.
    """
    # Imported here: the import takes seconds.
    from torch_fidelity.metric_isc import isc_features_to_metric

    _require_classes(logits)
    require("inception score", {"generated": len(logits)}, 2 * splits, f"the mean of {splits} parts")
    bounded = logits.maximum(logits.amax(dim=1, keepdim=True) + LEAST_LOGIT)
    return float(isc_features_to_metric(bounded, splits=splits, shuffle=True, rng_seed=seed)["inception_score_mean"])


def estimate_inception_score(logits: torch.Tensor, *, strata: torch.Tensor | None = None) -> TwoSampleEstimate:
    """The score of the distribution behind the images.

    The marginal of N images is more certain than the true one, which costs
    Σ var p(y|x) / (2 N p(y)) of the logarithm; it is added back. An image's
    influence on the logarithm is KL(p(y|x) ‖ p(y)), less its mean. It vanishes where all
    images are certain and the classes even, as of a good generator of labelled images: what varies
    then is the second order, -½ Σ (marginal's error)² / p(y).

    Args:
        logits: [N, K].
        strata: class of each image, [N], where so many of each class were asked for rather than drawn by chance.

    Raises:
        UserError: fewer than 20 images, or fewer than 2 for each class, or no classes.
    """
    _require_classes(logits)
    least = max(LEAST_IMAGES, 2 * logits.shape[1])
    require("inception score", {"generated": len(logits)}, least, f"its interval with {logits.shape[1]} classes")
    value, divergences, marginal = _log_score(logits)
    influence = centred(divergences, strata)
    noise = _MarginalNoise.of(logits, marginal, influence, strata)
    score = float(np.exp(value + noise.lost))
    return TwoSampleEstimate(
        score,
        score * influence,
        np.zeros(0),
        bias=-score * noise.lost,
        own=score**2 * noise.pairs,
        slope=score * noise.slope,
    )


def _require_classes(logits: torch.Tensor) -> None:
    if not logits.shape[1]:
        raise UserError("is: the extractor knows no classes; of all of them only domain and inception do")


def _log_score(logits: torch.Tensor) -> tuple[float, NDArray[np.float64], torch.Tensor]:
    """Mean divergence from the marginal, each image's own [N], and the marginal [K]."""
    blocks = torch.split(logits, ROWS)
    marginal = torch.zeros(logits.shape[1], dtype=torch.float64)
    for block in blocks:
        marginal += block.double().softmax(dim=1).sum(dim=0) / len(logits)
    divergences = []
    for block in blocks:
        certain = block.double().log_softmax(dim=1)
        # A share of 0 adds nothing; its logarithm, and that of a marginal of 0, are cut at finite values.
        ratios = certain.clamp(min=LEAST_LOGARITHM) - marginal.log().clamp(min=LEAST_LOGARITHM)
        divergences.append((certain.exp() * ratios).sum(dim=1))
    each_image = torch.cat(divergences).numpy()
    return float(each_image.mean()), each_image, marginal


@dataclass(frozen=True)
class _MarginalNoise:
    """What the marginal's error ε, over √p(y) and of covariance S, does to the logarithm of the score.

    Attributes:
        lost: mean of ½ |ε|², tr S / 2.
        pairs: variance of ½ |ε|², tr S² / 2.
        slope: regression of the influences' variance on the logarithm, negative. Influences a vary with ε by
            -2 E[a shares]·ε / N, and with the images themselves by E[a³] / N²; second order adds tr S³.
    """

    lost: float
    pairs: float
    slope: float

    @classmethod
    def of(
        cls, logits: torch.Tensor, marginal: torch.Tensor, influence: NDArray[np.float64], strata: torch.Tensor | None
    ) -> "_MarginalNoise":
        """Of logits [N, K], their marginal [K] and influences [N]; in strata what varies is within classes."""
        count, classes = logits.shape
        groups = [np.arange(count)] if strata is None else [members for _, members in members_of(strata)]
        weights = torch.from_numpy(influence)
        total, along = torch.zeros(classes, classes, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
        for members in groups:
            blocks = torch.split(torch.from_numpy(members), ROWS)
            mean = sum(logits[rows].double().softmax(dim=1).sum(dim=0) for rows in blocks) / len(members)
            for rows in blocks:
                away = logits[rows].double().softmax(dim=1) - mean
                total += away.T @ away * len(members) / (len(members) - 1)
                along += weights[rows] @ away
        seen = marginal > 0
        scales = marginal[seen].rsqrt()
        covariance = (total[seen][:, seen] * scales[:, None] * scales).numpy() / count**2
        direction = (along[seen] * scales).numpy() / count
        square = covariance @ covariance
        pairs = float(np.trace(square)) / 2
        variance = float(np.square(influence).mean()) / count + pairs
        third = float(2 * direction @ direction - (influence**3).mean()) / count**2 + float((square * covariance).sum())
        return cls(float(np.trace(covariance)) / 2, pairs, third / variance if variance > 0 else 0.0)
