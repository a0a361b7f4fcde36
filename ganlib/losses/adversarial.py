"""Adversarial losses: per-sample functions of logits. The training step takes the mean, once."""

from typing import assert_never

from torch import Tensor
from torch.nn import functional as F

from ganlib.config import AdversarialLoss


def critic_loss(name: AdversarialLoss, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """What the critic minimises, one value a pair: [N], [N] -> [N]."""
    match name:
        case "hinge":  # Lim & Ye 2017; Miyato et al. 2018, eq. 16
            return F.relu(1 - real_logits) + F.relu(1 + fake_logits)
        case "non_saturating":  # Goodfellow et al. 2014, eq. 1
            return F.softplus(-real_logits) + F.softplus(fake_logits)
        case "relativistic":  # Jolicoeur-Martineau 2019, section 3.2 (RpGAN); Huang et al. 2024, eq. 2
            return F.softplus(fake_logits - real_logits)
        case _:
            assert_never(name)


def generator_loss(name: AdversarialLoss, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
    """What the generator minimises, one value a pair: [N] or None, [N] -> [N].

    `real_logits` are read only where `generator_needs_real_logits(name)`.
    """
    match name:
        case "hinge":  # Miyato et al. 2018, eq. 17
            return -fake_logits
        case "non_saturating":  # Goodfellow et al. 2014, section 3
            return F.softplus(-fake_logits)
        case "relativistic":  # Jolicoeur-Martineau 2019, section 3.2
            assert real_logits is not None, "the relativistic generator loss compares with real images"
            return F.softplus(real_logits - fake_logits)
        case _:
            assert_never(name)


def generator_needs_real_logits(name: AdversarialLoss) -> bool:
    """Whether the generator's step must pass real images through the critic."""
    return name == "relativistic"
