"""What a generator's critic would leave out of its images, and what that would change."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlib.config import EvaluateOptions
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Draw, Reference, draw_images
from ganlib.evaluation.latent_space import figures_of
from ganlib.evaluation.record import Rejection
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.classifier import to_input
from ganlib.metrics.estimates import members_of, quantile
from ganlib.metrics.latent import Calibration, acceptance, gamma_for_share
from ganlib.metrics.memorisation import copying_statistic
from ganlib.networks.base import Critic, of_each_image
from ganlib.sampling import Images, inference


def measure_rejection(drawn: Draw, critic: Critic, reference: Reference, options: EvaluateOptions) -> Rejection:
    """What discriminator rejection sampling would change (Azadi et al. 2019).

    The critic's logits are calibrated on training images, so that held-out ones
    stay unseen, against another draw (the burn-in). The burn-in also tells, class by class, the highest
    log-odds and the gamma with which the wanted share is kept. The kept images are compared with
    as many random ones of each class: both sets have the same class shares.

    Args:
        drawn: what is chosen from.
        critic: that taught the generator.
        reference: whose training images calibrate, and whose held-out images the figures are measured on.
        options: with a `latent.kept_share`.

    Raises:
        UserError: a critic that does not rank real above generated images or does so without error, or so few images
            kept that a figure cannot be had.
    """
    assert options.latent.kept_share is not None
    asked = drawn.sample.labels
    strata = torch.zeros(drawn.count, dtype=torch.int64) if asked is None else asked
    burn_in_options = options.model_copy(update={"seed": seed_for("burn-in", options.seed)})
    burn_in, logits = (
        critic_logits(critic, draw_images(drawn.generator, each, asked), asked) for each in (burn_in_options, options)
    )
    calibration = _calibrated(critic, burn_in, strata, reference, options)
    draws = np.random.default_rng(seed_for("rejection", options.seed))
    kept, others = _kept(calibration(logits), calibration(burn_in), strata, options.latent.kept_share, draws)
    before, after = (
        figures_of(drawn.part(rows), drawn.classified(rows), reference, options) for rows in (others, kept)
    )
    return Rejection(kept_share=len(kept) / drawn.count, count=len(kept), before=before, after=after)


def critic_logits(critic: Critic, batches: Iterable[Images], labels: Tensor | None) -> Tensor:
    """How real a critic finds images: logits [N], of each image by itself.

    Args:
        critic: on any device.
        batches: uint8 [n, H, W, C] each.
        labels: of all images, [N]; None for an unconditional critic.
    """
    device = next(critic.parameters()).device
    logits: list[Tensor] = []
    start = 0
    with inference(critic):
        for images in batches:
            chunk = None if labels is None else labels[start : start + len(images)].to(device)
            logits.append(of_each_image(critic(to_input(images, device), chunk)).cpu())
            start += len(images)
    return torch.cat(logits)


def _calibrated(
    critic: Critic, burn_in: Tensor, strata: Tensor, reference: Reference, options: EvaluateOptions
) -> Calibration:
    """On as many training as generated images of each class: which classes the critic likes plays no part."""
    train = reference.data.train
    labels = torch.from_numpy(train.labels.copy()) if critic.num_classes and train.labels is not None else None
    real_strata = torch.zeros(len(train), dtype=torch.int64) if labels is None else labels
    draws = np.random.default_rng(seed_for("calibration", options.seed))
    rows, burn_in_rows = _as_many(real_strata, strata, draws)
    batches = (
        train.take(rows[start : start + options.batch_size]) for start in range(0, len(rows), options.batch_size)
    )
    real = critic_logits(critic, batches, None if labels is None else labels[rows])
    generated = burn_in[burn_in_rows]
    _check_ranking(real, generated, options.confidence)
    return Calibration.fit(real, generated)


def _check_ranking(real: Tensor, generated: Tensor, level: float) -> None:
    mend = "set evaluate.latent.kept_share to null, or train longer"
    if not bool(torch.isfinite(real).all() and torch.isfinite(generated).all()):
        raise UserError(f"critic: found logits that are not finite, of which no image can be chosen; {mend}")
    deviations = -copying_statistic(generated.double().numpy(), real.double().numpy())
    if deviations < quantile(level):
        raise UserError(
            f"critic: found logits that rank real above generated images no better than chance "
            f"({deviations:.1f} standard deviations, expected above {quantile(level):.1f}); {mend}"
        )


def _as_many(one: Tensor, other: Tensor, draws: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random rows of both, as many of each class on either side."""
    sides = [dict(members_of(labels)) for labels in (one, other)]
    rows: tuple[list[NDArray[np.int64]], ...] = ([], [])
    for label in sorted(sides[0].keys() & sides[1].keys()):
        count = min(len(side[label]) for side in sides)
        for side, chosen in zip(sides, rows, strict=True):
            chosen.append(draws.choice(side[label], count, replace=False))
    return np.concatenate(rows[0]), np.concatenate(rows[1])


def _kept(
    log_odds: Tensor, burn_in: Tensor, strata: Tensor, share: float, draws: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that rejection keeps, and as many random ones of each class."""
    kept, others = [], []
    for _, members in members_of(strata):
        trial = burn_in[members]
        highest = float(trial.max())
        chances = acceptance(log_odds[members], highest, gamma=gamma_for_share(trial, highest, share)).numpy()
        accepted = members[draws.random(len(members)) < chances]
        kept.append(accepted)
        others.append(draws.choice(members, len(accepted), replace=False))
    return np.concatenate(kept), np.concatenate(others)
