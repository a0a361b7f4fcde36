"""Is a classifier surely better than chance?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

# How sure it has to be: one classifier in twenty that knows nothing passes.
LEVEL = 0.95


def chance_alarm(predicted: NDArray[np.integer[Any]], truth: NDArray[np.integer[Any]]) -> str | None:
    """What to say of the data set's classifier where it may know no more than which class is the most frequent.

    The exact binomial test, one-sided, of the share of right answers against the share of the largest class.

    Args:
        predicted: classes of held-out images, [N], N at least 1.
        truth: their labels, [N].

    Returns:
        One line; None where it is surely better.
    """
    count, right = len(truth), int((predicted == truth).sum())
    largest = int(np.bincount(truth).max())
    # The chance of as many right answers, or more.
    p_value = float(bdtrc(right - 1, count, largest / count)) if right and largest < count else 1.0
    if p_value < 1 - LEVEL:
        return None
    return (
        f"the data set's classifier is right on {right} of {count} held-out images, the largest class alone has "
        f"{largest}: not surely better than chance (p = {p_value:.2f}), so domain features and label fidelity mean "
        "little; raise extractor.total_images, provide more images, or choose another train.extractor and "
        "evaluate.extractor"
    )
