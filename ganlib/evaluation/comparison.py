"""Two generators on the same real images: by how much they differ, and how sure that is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

from ganlib.config import EvaluateOptions, GateFigure, RegisterOptions
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.measuring import classified, confidence_of
from ganlib.metrics.estimates import Interval, TwoSampleEstimate, normal_interval
from ganlib.metrics.fidelity import measure
from ganlib.metrics.frechet_parts import ClassView
from ganlib.metrics.intervals import Confidence, Sample, difference, labels_of

Guard = Literal["coverage", "label_fidelity", "worst_class"]


@dataclass(frozen=True)
class Compared:
    """One figure of both generators.

    Attributes:
        challenger, champion: as usually reported; of a class its distance free of bias.
        difference: challenger less champion, free of the bias of small samples.
        of_class: whose figure it is; None: of all.
    """

    challenger: float
    champion: float
    difference: Interval
    of_class: str | None = None


@dataclass(frozen=True)
class Unseen:
    """What could not be compared.

    Attributes:
        why: not.
        lost: the champion has it and the challenger has not.
    """

    why: str
    lost: bool


@dataclass(frozen=True)
class Comparison:
    """What the gate decides by; the guards that are on, each with what was found."""

    metric: Compared
    guards: dict[Guard, Compared | Unseen]


def compare(
    challenger: Draw, champion: Draw, reference: Reference, options: RegisterOptions, evaluate: EvaluateOptions
) -> Comparison:
    """Compare two draws on the held-out images, whose chance is common to both.

    Draws of one seed share their latents: images of generators that are kin then go together, which
    makes the difference surer than its interval says, never less sure.

    Each end of an interval holds with `options.confidence`, so that one with 0.95 is
    the usual two-sided interval of level 0.90.

    Raises:
        UserError: the metric cannot be compared: too few images, or a draw without the labels it needs.
    """
    confidence = replace(confidence_of(evaluate), level=round(2 * options.confidence - 1, 12))
    pair = challenger, champion

    def figure(name: GateFigure) -> Compared:
        return _figure(pair, reference, name, confidence, evaluate)

    try:
        metric = figure(options.figure)
    except UserError as error:
        raise UserError(f"register.metric={options.metric}: {error}") from None
    limits = options.guards
    looks: dict[Guard, tuple[float | None, Callable[[], Compared]]] = {
        "coverage": (limits.coverage_drop, lambda: figure("coverage")),
        "label_fidelity": (limits.label_fidelity_drop, lambda: figure("label_fidelity")),
        "worst_class": (limits.worst_class_rise, lambda: _worst_class(pair, reference, confidence)),
    }
    lost = challenger.labels is None and champion.labels is not None
    guards: dict[Guard, Compared | Unseen] = {}
    for guard, (limit, look) in looks.items():
        if limit is None:
            continue
        if lost and guard != "coverage":
            guards[guard] = Unseen("the champion can be asked for a class, the challenger cannot", lost=True)
        else:
            guards[guard] = _or_why_not(look)
    return Comparison(metric, guards)


def _or_why_not(look: Callable[[], Compared]) -> Compared | Unseen:
    try:
        return look()
    except UserError as error:
        return Unseen(str(error), lost=False)


def _figure(
    pair: tuple[Draw, Draw], reference: Reference, figure: GateFigure, confidence: Confidence, options: EvaluateOptions
) -> Compared:
    real = reference.test_sample
    one, other = (_sample(drawn, figure) for drawn in pair)
    apart = difference(one, other, real, figure, confidence)
    challenger, champion = (measure(sample, real, [figure], options)[figure] for sample in (one, other))
    return _finite(figure, Compared(challenger, champion, apart))


def _sample(drawn: Draw, figure: GateFigure) -> Sample:
    return classified(drawn) if figure == "label_fidelity" else drawn.sample


def _worst_class(pair: tuple[Draw, Draw], reference: Reference, confidence: Confidence) -> Compared:
    """The challenger's worst class, and what the champion makes of the same one.

    The rise in this class is at least that above the champion's own worst class, and is
    known much better: the chance in the few real images of the class is common to both. A class is
    the worst partly by chance, so the interval is one that all classes keep at once (Bonferroni).
    """
    one, other = (classified(drawn) for drawn in pair)
    real, names = reference.test_sample, reference.data.image.classes
    labels, real_labels = (labels_of(sample, "worst class") for sample in (one, real))
    view = ClassView.of(labels, real.features.values, real_labels, len(names))

    def estimate(sample: Sample, label: int) -> TwoSampleEstimate:
        mine = sample.features.values[labels_of(sample, "worst class") == label]
        return view.estimate(mine, real.features.values[real_labels == label], seed=confidence.seed)

    found = {label: estimate(one, label) for label in view.judged}
    worst = max(found, key=lambda label: found[label].estimate)
    challenger, champion = found[worst], estimate(other, worst)
    apart = challenger.estimate - champion.estimate
    error = challenger.standard_error_of_difference(champion)
    at_once = normal_interval(apart, error, 1 - (1 - confidence.level) / len(found))
    interval = replace(at_once, level=confidence.level)
    return _finite("worst class", Compared(challenger.estimate, champion.estimate, interval, names[worst]))


def _finite(name: str, found: Compared) -> Compared:
    apart = found.difference
    if not all(map(isfinite, (found.challenger, found.champion, apart.estimate, apart.low, apart.high))):
        raise UserError(
            f"{name}: found {found.challenger:g} against {found.champion:g}, expected finite figures; "
            "the features are too far apart to compare"
        )
    return found
