"""The gate: may a challenger take the champion's place?

The metric must be better by more than the margin, and surely so: the whole interval of the
difference lies beyond the margin, each of its ends holding with the confidence asked for.

A guard is the other way round. It stops a challenger whose figure is worse by more than the limit as
measured and surely worse at all, so that of equal generators it stops no more than the
confidence leaves open, however small its limit. A drop past the limit goes through only where the images are too few
to tell it from chance; the table then says so. Near copies of training images need no champion: what is sure is
told by the p-value of so many, were they held-out images; where these have near duplicates in the training set
themselves, the guard is left out. A challenger that cannot be asked for a class does not follow
a champion that can, while a guard of what is within classes is on.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ganlib.config import LOWER_IS_BETTER, GuardOptions, RegisterOptions
from ganlib.errors import UserError
from ganlib.evaluation.comparison import Compared, Comparison, Guard, Unseen
from ganlib.evaluation.record import Copying, Evaluation, Figure, Interval
from ganlib.metrics import estimates
from pipelines import paths
from pipelines.registry.verdict import Row, Verdict


@dataclass(frozen=True)
class Opponent:
    """The present champion.

    Attributes:
        version: its number.
        comparison: of the challenger with it, on today's data.
        remeasured: it had been measured with other data, settings or code before.
    """

    version: str
    comparison: Comparison
    remeasured: bool


class NotComparable(UserError):
    """Why the champion is no measure for the challenger: it is damaged, gone, or makes other images."""


@contextmanager
def blaming_the_champion() -> Iterator[None]:
    """A UserError in here is the champion's; what the challenger or the data lack is no verdict and fails the stage."""
    try:
        yield
    except UserError as error:
        raise NotComparable(str(error)) from None


def decide(options: RegisterOptions, evaluation: Evaluation, opponent: Opponent | None) -> Verdict:
    """Judge the challenger that was evaluated, against the champion if there is one.

    Raises:
        UserError: the evaluation lacks the metric.
    """
    measured = metric_of(evaluation, options.metric)
    metric = _first(options, measured) if opponent is None else _contest(options, opponent.comparison.metric)
    guards = near_copies(options, evaluation.memorisation)
    if options.guards.memorised_share is not None and not evaluation.memorisation:
        why = evaluation.skipped.get("memorisation", "not measured")
        guards = [Row(name="near copies", note=f"not checked ({why})")]
    if opponent is not None:
        guards = [*_guards(options.guards, opponent.comparison), *guards]
    promoted = metric.passed is True and all(row.passed is not False for row in guards)
    return Verdict(promoted=promoted, reason=_sentence(promoted, metric, guards, opponent), table=(metric, *guards))


def _sentence(promoted: bool, metric: Row, guards: Sequence[Row], opponent: Opponent | None) -> str:
    """What a person would say; the figures are in the table."""
    note = metric.note
    if opponent is not None:
        # It says "better" or "worse" once.
        note = re.sub("better|worse", rf"\g<0> than version {opponent.version}", note, count=1)
    stopped = [row.name for row in guards if row.passed is False]
    joined = "but" if metric.passed else "and"
    but = f", {joined} stopped by the guards: {', '.join(stopped)}" if stopped else ""
    return f"{'Promoted' if promoted else 'Not promoted'}: {note}{but}."


def metric_of(evaluation: Evaluation, metric: str) -> Figure:
    """The challenger's figure.

    Raises:
        UserError: it was not measured.
    """
    if metric in evaluation.metrics:
        return evaluation.metrics[metric]
    why = evaluation.skipped.get(metric, f"found: {', '.join(evaluation.metrics) or 'none'}; evaluate again")
    raise UserError(f"register.metric={metric}: not in {paths.EVALUATION} ({why})")


def _first(options: RegisterOptions, measured: Figure) -> Row:
    note = "there is no champion to compare with"
    return Row(name=options.metric, challenger=measured.value, passed=True, note=note)


def _contest(options: RegisterOptions, found: Compared) -> Row:
    gain = _gain(options.figure, found)
    if gain.low > options.margin:
        note = f"surely better by more than the margin of {options.margin:g}"
    elif gain.low > 0:
        note = f"surely better, but not surely by more than the margin of {options.margin:g}"
    else:
        note = "surely worse" if gain.high < 0 else "not surely better"
    limit = _signed(options.figure, options.margin)
    return _compared(options.metric, found, limit=limit, passed=gain.low > options.margin, note=note)


def _guards(options: GuardOptions, comparison: Comparison) -> list[Row]:
    allowed: dict[Guard, float | None] = {
        "coverage": options.coverage_drop,
        "label_fidelity": options.label_fidelity_drop,
        "worst_class": options.worst_class_rise,
    }
    rows = []
    for guard, most in allowed.items():
        if most is None:
            continue
        found, name = comparison.guards[guard], guard.replace("_", " ")
        if isinstance(found, Unseen):
            note = f"lost: {found.why}" if found.lost else f"not checked ({found.why})"
            rows.append(Row(name=name, note=note, passed=False if found.lost else None))
        else:
            rows.append(_guard(guard, name if found.of_class is None else f"{name} ({found.of_class})", most, found))
    return rows


def _guard(guard: Guard, name: str, most: float, found: Compared) -> Row:
    gain, limit = _gain(guard, found), _signed(guard, -most)
    past, sure = gain.estimate < -most, gain.high < 0
    return _compared(name, found, limit=limit, passed=not (past and sure), note=_place(past, sure, limit))


def _compared(name: str, found: Compared, *, limit: float, passed: bool, note: str) -> Row:
    return Row(
        name=name,
        challenger=found.challenger,
        champion=found.champion,
        difference=Interval.of(found.difference),
        limit=limit,
        passed=passed,
        note=note,
    )


def near_copies(options: RegisterOptions, memorisation: Mapping[str, Copying]) -> list[Row]:
    """Of each space in which copies can be told, whether more than the limit are near copies, and not by chance."""
    most = options.guards.memorised_share
    if most is None:
        return []
    rows = []
    for space, copying in memorisation.items():
        name = f"near copies by {space}"
        if copying.blind is not None:
            rows.append(Row(name=name, note=f"not checked ({copying.blind})"))
            continue
        share = _not_below_zero(copying.share)
        past, sure = share.estimate > most, copying.p_value < 1 - options.confidence
        place = _place(past, sure, most) if past or sure else "no sign of copying"
        rows.append(
            Row(
                name=name,
                challenger=share.estimate,
                difference=share,
                limit=most,
                passed=not (past and sure),
                note=f"{place}, p = {copying.p_value:.2g}",
            )
        )
    return rows


def _not_below_zero(share: Interval) -> Interval:
    """Fewer copies than by chance are no copies."""
    return share.model_copy(update={name: max(getattr(share, name), 0.0) for name in ("estimate", "low", "high")})


def _place(past: bool, sure: bool, limit: float) -> str:
    if past:
        return f"past the limit of {limit:g}" if sure else f"past the limit of {limit:g}, but it may be chance"
    return f"within the limit of {limit:g}"


def _gain(name: str, found: Compared) -> estimates.Interval:
    """The difference, turned so that more is better."""
    apart = found.difference
    if name not in LOWER_IS_BETTER:
        return apart
    return replace(apart, estimate=-apart.estimate, low=-apart.high, high=-apart.low)


def _signed(name: str, gain: float) -> float:
    """A gain as a difference of the figure; no zero is negative."""
    return 0.0 - gain if name in LOWER_IS_BETTER else 0.0 + gain
