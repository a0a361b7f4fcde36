"""Figures of several runs in rows: which are surely better than others, and which differ by no more than chance."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ganlib.evaluation.record import Conditions, Evaluation, Figure, Interval
from ganlib.metrics import estimates
from pipelines.comparing.subject import Subject
from pipelines.report.meanings import in_order, meaning

# What a condition is called where it differs.
_OTHER = {
    "extractor": "with another extractor",
    "weights_sha256": "with other weights of the extractor",
    "alpha": "with transparency taken otherwise",
    "reference": "against another split",
    "reference_digest": "against other held-out images",
    "reference_count": "against other held-out images",
    "generated_count": "on another number of images",
    "resizer": "with another resizer",
}


@dataclass(frozen=True)
class Row:
    """One figure of all runs.

    Attributes:
        name: such as `domain/fid`.
        figures: in the order of the runs; None where it was not measured.
        best: the places of the best run and of those that differ from it by no more than chance; empty where none is
            surely better than another.
        verdict: what can be said, for people.
    """

    name: str
    figures: tuple[Figure | None, ...]
    best: frozenset[int]
    verdict: str


def rows(subjects: Sequence[Subject], alike: frozenset[int]) -> list[Row]:
    """A row for each figure that any run has; only runs that were measured alike (by place) are ranked."""
    evaluations = [each.evaluation for each in subjects]
    names = in_order({name for each in evaluations if each is not None for name in each.metrics})
    return [_row(name, subjects, evaluations, alike) for name in names]


def measured_alike(subjects: Sequence[Subject]) -> frozenset[int]:
    """The places of the runs whose figures compare: the most that were measured alike, of equally many the newer."""
    kinds = [each.evaluation.measured_on if each.evaluation is not None else None for each in subjects]
    counts = Counter(kind for kind in kinds if kind is not None)
    most = max(counts.values(), default=0)
    chosen = next((kind for kind in reversed(kinds) if kind is not None and counts[kind] == most), None)
    return frozenset(place for place, kind in enumerate(kinds) if kind is not None and kind == chosen)


def otherwise(subjects: Sequence[Subject], alike: frozenset[int], metric: str) -> Iterator[str]:
    """A line for each run that was not measured like those that are ranked."""
    if not alike:
        return
    usual = subjects[min(alike)].evaluation
    for place, subject in enumerate(subjects):
        if place not in alike and subject.evaluation is not None and usual is not None:
            how = _how_otherwise(usual, subject.evaluation, metric)
            yield f"{subject.called} was measured {how}: its figures are shown, and not ranked"


def difference(one: Figure, other: Figure) -> Interval | None:
    """One less the other, from the interval of each; None where one has none.

    The chance in the real images, common to both, is counted twice: a difference is surer than this says, never less.
    """
    if one.interval is None or other.interval is None or one.interval.level != other.interval.level:
        return None
    return Interval.of(estimates.difference_of_intervals(_estimate(one.interval), _estimate(other.interval)))


def is_sure(apart: Interval) -> bool:
    """Whether the interval of a difference leaves out that there is none."""
    return apart.low > 0 or apart.high < 0


def _row(
    name: str, subjects: Sequence[Subject], evaluations: Sequence[Evaluation | None], alike: frozenset[int]
) -> Row:
    figures = tuple(None if each is None else each.metrics.get(name) for each in evaluations)
    ranked = {
        place: figure
        for place, figure in enumerate(figures)
        if figure is not None and place in alike and figure.interval
    }
    if len(ranked) < 2:
        without = any(figure is not None and figure.interval is None for figure in figures)
        return Row(name, figures, frozenset(), "no interval" if without else "not ranked")
    better = meaning(name).better
    if better == "neither":
        extremes = (pick(ranked, key=lambda place: _middle(ranked[place])) for pick in (max, min))
        apart = difference(*(ranked[place] for place in extremes))
        return Row(name, figures, frozenset(), "they differ" if apart and is_sure(apart) else "no difference")
    pick = min if better == "lower" else max
    first = pick(ranked, key=lambda place: _middle(ranked[place]))
    worse = {place for place, figure in ranked.items() if _surely_apart(figure, ranked[first])}
    if not worse:
        return Row(name, figures, frozenset(), "no difference")
    best = frozenset(ranked) - worse
    others = sorted(best - {first})
    verdict = f"best: {subjects[first].called}"
    if others:
        verdict += f"; as good, within chance: {', '.join(subjects[place].called for place in others)}"
    return Row(name, figures, best, verdict)


def _surely_apart(one: Figure, other: Figure) -> bool:
    apart = difference(one, other)
    return apart is not None and is_sure(apart)


def _middle(figure: Figure) -> float:
    assert figure.interval is not None
    return figure.interval.estimate


def _estimate(found: Interval) -> estimates.Interval:
    return estimates.Interval(found.estimate, found.low, found.high, found.level)


def _how_otherwise(usual: Evaluation, other: Evaluation, metric: str) -> str:
    mine, theirs = (_conditions(each, metric) for each in (other, usual))
    if mine is None or theirs is None:
        return "by other figures"
    found = dict.fromkeys(words for name, words in _OTHER.items() if getattr(mine, name) != getattr(theirs, name))
    return " and ".join(found) or "with other settings or code"


def _conditions(evaluation: Evaluation, metric: str) -> Conditions | None:
    """Of the metric, or where it is not measured of any other."""
    found = evaluation.metrics.get(metric) or next(iter(evaluation.metrics.values()), None)
    return None if found is None else found.conditions
