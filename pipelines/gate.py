"""The gate: may a challenger take the champion's place?"""

import math
from dataclasses import dataclass

LOWER_IS_BETTER = frozenset({"fid", "kid"})


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is promoted, and one sentence that says why."""

    promoted: bool
    reason: str


def decide(*, metric: str, challenger: float, champion: float | None, margin: float) -> Verdict:
    """Compare two scores of the same metric, measured on the same reference.

    Args:
        metric: such as `domain/fid`; `fid` and `kid` are better when lower, the others when higher.
        challenger: the new model's score.
        champion: the present champion's score; None when there is no champion.
        margin: by how much the challenger must be better, in the metric's unit. Equal never wins.
    """
    if not math.isfinite(challenger):
        return Verdict(False, f"{metric} of the challenger is {challenger}, which is no score.")
    if champion is None:
        return Verdict(True, f"First champion: {metric} {challenger:.6g}; there was none to beat (margin {margin:g}).")
    scores = f"{metric} {challenger:.6g} against the champion's {champion:.6g}, margin {margin:g}"
    if not math.isfinite(champion):
        return Verdict(True, f"The champion has no finite score: {scores}.")
    lower = metric.rpartition("/")[2] in LOWER_IS_BETTER
    gain = champion - challenger if lower else challenger - champion
    if gain > margin:
        return Verdict(True, f"Better by {gain:.6g}: {scores}.")
    if gain > 0:
        return Verdict(False, f"Better by {gain:.6g}, which is within the margin: {scores}.")
    return Verdict(False, f"{'Equal' if gain == 0 else f'Worse by {-gain:.6g}'}: {scores}.")
