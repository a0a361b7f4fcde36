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
    least = max(20, 2 * logits.shape[1])
    require("inception score", {"generated": len(logits)}, least, f"its interval with {logits.shape[1]} classes")
    value, divergences, marginal = _log_score(logits)
    lost, pairs = _marginal_noise(logits, marginal, strata)
    score = float(np.exp(value + lost))
    influence = score * centred(divergences, strata)
    return TwoSampleEstimate(score, influence, np.zeros(0), bias=-score * lost, own=score**2 * pairs)


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


def _marginal_noise(logits: torch.Tensor, marginal: torch.Tensor, strata: torch.Tensor | None) -> tuple[float, float]:
    """Mean and variance of ½ Σ (marginal's error)² / p(y): half the trace and half the square norm of its covariance.

    In strata the marginal varies within classes only.
    """
    groups = [logits] if strata is None else [logits[torch.from_numpy(members)] for _, members in members_of(strata)]
    total = torch.zeros(logits.shape[1], logits.shape[1], dtype=torch.float64)
    for group in groups:
        blocks = torch.split(group, ROWS)
        mean = sum(block.double().softmax(dim=1).sum(dim=0) for block in blocks) / len(group)
        for block in blocks:
            away = block.double().softmax(dim=1) - mean
            total += away.T @ away * len(group) / (len(group) - 1)
    seen = marginal > 0
    scales = marginal[seen].rsqrt()
    covariance = total[seen][:, seen] * scales[:, None] * scales / len(logits) ** 2
    return float(covariance.trace()) / 2, float(covariance.square().sum()) / 2
