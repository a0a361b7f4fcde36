"""What has to hold before a metric means anything."""

import torch

from ganlib.config import EvaluateOptions, evaluate_misfits
from ganlib.errors import UserError
from ganlib.metrics.extractors import Features


def check_counts(options: EvaluateOptions, real_count: int) -> None:
    """Refuse a reference split too small for the metrics asked for.

    Raises:
        UserError: naming the parameters that ask for more than there is.
    """
    lines = list(evaluate_misfits(options, real_count))
    if lines:
        raise UserError("\n".join(lines))


def check_real(features: Features, split: str) -> None:
    """Refuse an extractor that sees nothing in real images.

    Raises:
        UserError: features that are not finite, or the same for all images.
    """
    mend = "lower extractor.learning_rate, or see that data.source holds more than one picture"
    _check(features, f"real images ({split} split)", mend)


def check_generated(features: Features) -> None:
    """Refuse generated images of which no statistic can be made.

    Raises:
        UserError: features that are not finite, or the same for all images.
    """
    mend = "the generator has collapsed; lower the learning rates and train it again"
    _check(features, "generated images", mend)


def _check(features: Features, what: str, mend: str) -> None:
    if not bool(torch.isfinite(features.values).all() and torch.isfinite(features.logits).all()):
        raise UserError(f"features of {what}: found values that are not finite; {mend}")
    if not bool(features.values.std(dim=0).any()):
        raise UserError(f"features of {what}: found the same for all of them; {mend}")
