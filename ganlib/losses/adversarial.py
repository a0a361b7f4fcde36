"""Adversarial losses: per-sample functions of logits. The training step takes the mean, once."""

import math
from typing import assert_never

from torch import Tensor
from torch.nn import functional as F

from ganlib.config import AdversarialLoss
from ganlib.config.losses import SMOOTHABLE


def critic_loss(name: AdversarialLoss, real_logits: Tensor, fake_logits: Tensor, *, label_smoothing: float) -> Tensor:
    """What the critic minimises, one value a pair: [N], [N] -> [N].

    `label_smoothing` s in [0, 0.5) lowers the target of real images to 1 - s
    and leaves that of generated ones at 0 (Salimans et al. 2016, section
    3.4). Losses without targets take s = 0 only.
    """
    assert label_smoothing == 0 or name in SMOOTHABLE, f"{name} has no target labels to smooth"
    match name:
        case "minimax" | "non_saturating":  # Goodfellow et al. 2014, eq. 1
            # Cross-entropy (1 - s) softplus(-x) + s softplus(x), by softplus(x) = x + softplus(-x).
            real_loss = F.softplus(-real_logits)
            if label_smoothing > 0:
                real_loss = real_loss + label_smoothing * real_logits
            return real_loss + F.softplus(fake_logits)
        case "least_squares":  # Mao et al. 2017, eq. 2 with their halves, a = 0 and b = 1 - s
            return ((real_logits - (1 - label_smoothing)).square() + fake_logits.square()) / 2
        case "wasserstein":  # Arjovsky et al. 2017, eq. 3, negated
            return fake_logits - real_logits
        case "hinge":  # Lim & Ye 2017; Miyato et al. 2018, eq. 16
            return F.relu(1 - real_logits) + F.relu(1 + fake_logits)
        case "relativistic":  # Jolicoeur-Martineau 2019, section 3.2 (RpGAN); Huang et al. 2024, eq. 2
            return F.softplus(fake_logits - real_logits)
        case _:
            assert_never(name)


def generator_loss(name: AdversarialLoss, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
    """What the generator minimises, one value a pair: [N] or None, [N] -> [N].

    `real_logits` are read only where `generator_needs_real_logits(name)`.
    """
    match name:
        case "minimax":  # Goodfellow et al. 2014, eq. 1: log(1 - D(G(z)))
            return -F.softplus(fake_logits)
        case "non_saturating":  # Goodfellow et al. 2014, section 3
            return F.softplus(-fake_logits)
        case "least_squares":  # Mao et al. 2017, eq. 2 with c = 1
            return (fake_logits - 1).square() / 2
        case "wasserstein" | "hinge":  # Arjovsky et al. 2017, eq. 3; Miyato et al. 2018, eq. 17
            return -fake_logits
        case "relativistic":  # Jolicoeur-Martineau 2019, section 3.2
            assert real_logits is not None, "the relativistic generator loss compares with real images"
            return F.softplus(real_logits - fake_logits)
        case _:
            assert_never(name)


def generator_needs_real_logits(name: AdversarialLoss) -> bool:
    """Whether the generator's step must pass real images through the critic."""
    return name == "relativistic"


def critic_loss_floor(name: AdversarialLoss, *, label_smoothing: float) -> float | None:
    """Greatest lower bound of `critic_loss` over all logits; None where it has none.

    A loss that comes near it says that the critic has won.
    """
    match name:
        case "minimax" | "non_saturating":  # cross-entropy is least, at the entropy, where sigmoid(real) = 1 - s
            s = label_smoothing
            return -(s * math.log(s) + (1 - s) * math.log1p(-s)) if s > 0 else 0.0
        case "least_squares" | "hinge" | "relativistic":
            return 0.0
        case "wasserstein":
            return None
        case _:
            assert_never(name)


def undecided_logit(name: AdversarialLoss, *, label_smoothing: float) -> float | None:
    """The best critic's logit where real and generated images are equally likely; None where it has no such place."""
    s = label_smoothing
    match name:
        case "minimax" | "non_saturating":  # sigmoid(x) = (1 - s) / 2
            return math.log((1 - s) / (1 + s))
        case "least_squares":  # halfway between the targets
            return (1 - s) / 2
        case "hinge":
            return 0.0
        case "wasserstein" | "relativistic":
            return None
        case _:
            assert_never(name)
