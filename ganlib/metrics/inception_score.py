"""Inception score: how sure a classifier is of each image, and how many classes it sees in all of them."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.errors import UserError
from ganlib.metrics.estimates import TwoSampleEstimate, centred, members_of, require

ROWS = 4096
LEAST_LOGARITHM = -1000.0


def inception_scores(logits: torch.Tensor, *, splits: int, seed: int) -> NDArray[np.float64]:
    """The score exp E KL(p(y|x) ‖ p(y)) of each of `splits` parts: IS is their mean (Salimans et al. 2016, section 4).

    The parts, after a seeded shuffle, are those of torch-fidelity.

    Args:
        logits: [N, K].
        splits: 1 to N.
        seed: of the shuffle.

    Raises:
        UserError: fewer images than two for each part, or no classes.
    """
    _require_classes(logits)
    count = len(logits)
    require("inception score", {"generated": count}, 2 * splits, f"the mean of {splits} parts")
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    bounds = [part * count // splits for part in range(splits + 1)]
    parts = (logits[order[start:end]] for start, end in pairwise(bounds))
    return np.exp([_log_score(part)[0] for part in parts])


def estimate_inception_score(logits: torch.Tensor, *, strata: torch.Tensor | None = None) -> TwoSampleEstimate:
    """The score of the distribution behind the images.

    The marginal of N images is more certain than the true one, which costs
    Σ var p(y|x) / (2 N p(y)) of the logarithm; it is added back. An image's
    influence on the logarithm is KL(p(y|x) ‖ p(y)), less its mean.

    Args:
        logits: [N, K].
        strata: class of each image, [N], where so many of each class were asked for rather than drawn by chance.

    Raises:
        UserError: fewer than 20 images, or fewer than 2 for each class, or no classes.
    """
    _require_classes(logits)
    least = max(20, 2 * logits.shape[1])
    require("inception score", {"generated": len(logits)}, least, f"its interval with {logits.shape[1]} classes")
    value, divergences, lost = _log_score(logits)
    if strata is not None:
        # The marginal varies within classes only.
        shares = logits.double().softmax(dim=1)
        marginal = shares.mean(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
        chosen = [shares[torch.from_numpy(members)] for _, members in members_of(strata)]
        within = sum((part - part.mean(dim=0)).square().sum(dim=0) * len(part) / (len(part) - 1) for part in chosen)
        lost = float((within / marginal).sum()) / (2 * len(logits) ** 2)
    score = float(np.exp(value + lost))
    return TwoSampleEstimate(score, score * centred(divergences, strata), np.zeros(0))


def _require_classes(logits: torch.Tensor) -> None:
    if not logits.shape[1]:
        raise UserError("is: the extractor knows no classes; of all of them only domain and inception do")


def _log_score(logits: torch.Tensor) -> tuple[float, NDArray[np.float64], float]:
    """Mean divergence from the marginal, each image's own [N], and the first-order bias of the mean."""
    blocks = torch.split(logits, ROWS)
    count = len(logits)
    marginal, second = (torch.zeros(logits.shape[1], dtype=torch.float64) for _ in range(2))
    for block in blocks:
        shares = block.double().softmax(dim=1)
        marginal += shares.sum(dim=0) / count
        second += shares.square().sum(dim=0) / count
    divergences = []
    for block in blocks:
        certain = block.double().log_softmax(dim=1)
        # A share of 0 adds nothing; its logarithm, and that of a marginal of 0, are cut at finite values.
        ratios = certain.clamp(min=LEAST_LOGARITHM) - marginal.log().clamp(min=LEAST_LOGARITHM)
        divergences.append((certain.exp() * ratios).sum(dim=1))
    each_image = torch.cat(divergences).numpy()
    seen = marginal > 0
    lost = ((second - marginal.square())[seen] / marginal[seen]).sum() / (2 * count)
    return float(each_image.mean()), each_image, float(lost)
