"""The figures of a draw against the held-out images, each with its interval; what cannot be measured, and why."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ganlib.config import EvaluateOptions, GateFigure, least_images
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.record import ClassFigures, Conditions, Figure, Interval
from ganlib.metrics.extractors import Extractor
from ganlib.metrics.fidelity import measure
from ganlib.metrics.frechet import FrechetReference
from ganlib.metrics.frechet_parts import ClassDistance, class_distances, extrapolate_frechet
from ganlib.metrics.intervals import Confidence, Sample, intervals
from ganlib.metrics.labels import class_table
from ganlib.metrics.neighbourhood import NAMES

UNLABELLED = "needs a conditional generator and data of two classes or more, or there is nothing to tell apart"


@dataclass
class Findings:
    """Figures as they are measured, and what could not be."""

    metrics: dict[str, Figure] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def skipping(self, *names: str) -> Iterator[None]:
        """Note why these cannot be measured, and go on: the others are worth having."""
        try:
            yield
        except UserError as error:
            self.skipped |= dict.fromkeys(names, str(error))


def confidence_of(options: EvaluateOptions) -> Confidence:
    """How intervals are made."""
    return Confidence(options.confidence, options.neighbours, options.interval_splits, options.seed)


def classified(drawn: Draw) -> Sample:
    """As many images of each class, with the logits of the data set's own classifier, which alone knows its classes.

    Raises:
        UserError: data without classes to tell apart, or an unconditional generator.
    """
    found = drawn.classified(drawn.even_rows)
    if found is None:
        raise UserError(f"label_fidelity: {UNLABELLED}")
    return found


def conditions_of(reference: Reference, extractor: Extractor, generated_count: int) -> Conditions:
    """What a figure was measured on."""
    data = reference.data
    return Conditions(
        extractor=extractor.name,
        weights_sha256=extractor.weights_sha256,
        alpha=extractor.alpha if data.image.channels == 4 else None,
        reference=data.test.name,
        reference_digest=data.test.digest,
        reference_count=len(data.test),
        generated_count=generated_count,
        resizer=data.manifest.resizer,
    )


def measure_figures(drawn: Draw, reference: Reference, options: EvaluateOptions, findings: Findings) -> None:
    """All that two generators can be compared by, and FID's extrapolation and floor.

    A figure whose interval cannot be had has too few images to mean anything: it is skipped. What neither data nor
    extractor have, such as classes, has no figures.
    """
    real, extractor = reference.test_sample, reference.extractor
    conditions = conditions_of(reference, extractor, drawn.count)
    classifies = drawn.sample.features.logits.shape[1] > 0
    groups: tuple[Sequence[GateFigure], ...] = (["fid"], ["kid"], ["is"] if classifies else [], NAMES)
    for figures in groups:
        _note(findings, drawn.sample, real, figures, conditions, options)
    translates = drawn.generator.inputs is not None  # its images are of the classes that their inputs are of
    if not translates and drawn.labels is not None:
        _note(findings, drawn.part(drawn.even_rows), real, ["diversity"], conditions, options)
    with findings.skipping(f"{extractor.name}/fid_infinity"):
        findings.metrics[f"{extractor.name}/fid_infinity"] = Figure(
            value=_at_infinity(drawn, real, options, extractor.device),
            interval=None,
            conditions=conditions,
        )
    _measure_floor(reference, options, findings)
    if translates or reference.classifier is None or drawn.labels is None:
        return
    asked = conditions_of(reference, reference.classifier, drawn.count)
    _note(findings, classified(drawn), real, ["label_fidelity"], asked, options)


def _measure_floor(reference: Reference, options: EvaluateOptions, findings: Findings) -> None:
    """FID of the training images: what no generator need go below."""
    train, extractor = Sample(reference.train, None, stratified=False), reference.extractor
    least = least_images("fid", features=reference.train.values.shape[1], neighbours=options.neighbours)
    if len(reference.train) < least:
        why = f"fid_floor: needs at least {least} training images, found {len(reference.train)}; provide more"
        findings.skipped[f"{extractor.name}/fid_floor"] = why
        return
    conditions = conditions_of(reference, extractor, len(reference.train))
    _note(findings, train, reference.test_sample, ["fid"], conditions, options, names={"fid": "fid_floor"})


def measure_classes(
    drawn: Draw, reference: Reference, options: EvaluateOptions, findings: Findings
) -> tuple[ClassFigures, ...]:
    """Each class, from the worst to the best; those with too few images to be ranked come last, by name.

    Raises:
        UserError: unlabelled data, or an unconditional generator.
    """
    sample, real = classified(drawn), reference.test_sample
    assert sample.labels is not None
    assert real.labels is not None
    names, level = reference.data.image.classes, options.confidence
    sides = (sample.features.values, sample.labels, real.features.values, real.labels)
    rows = class_table(sample.features.logits, *sides, names=names, level=level)
    ranked: dict[str, ClassDistance] = {}
    with findings.skipping("fid of each class"):
        found = class_distances(*sides, names=names, level=level, seed=options.seed)
        ranked = {each.name: each for each in found.worst_first}
    order = {name: place for place, name in enumerate(ranked)}
    rows.sort(key=lambda row: order.get(row.name, len(order)))
    return tuple(
        ClassFigures(
            name=row.name,
            generated=row.generated,
            real=row.real,
            fid=ranked[row.name].fid if row.name in ranked else None,
            distance=Interval.of(ranked[row.name].interval) if row.name in ranked else None,
            label_fidelity=Interval.of(row.fidelity),
            diversity=row.diversity,
        )
        for row in rows
    )


def _note(
    findings: Findings,
    generated: Sample,
    real: Sample,
    figures: Sequence[GateFigure],
    conditions: Conditions,
    options: EvaluateOptions,
    names: Mapping[GateFigure, str] | None = None,
) -> None:
    """Measure some figures together, under names of their own if given."""
    full = {figure: f"{conditions.extractor}/{(names or {}).get(figure, figure)}" for figure in figures}
    with findings.skipping(*full.values()):
        sure = intervals(generated, real, figures, confidence_of(options))
        values = measure(generated, real, figures, options)
        for figure in figures:
            findings.metrics[full[figure]] = Figure(
                value=values[figure], interval=Interval.of(sure[figure]), conditions=conditions
            )


def _at_infinity(drawn: Draw, real: Sample, options: EvaluateOptions, device: torch.device) -> float:
    dimensions = real.features.values.shape[1]
    found = extrapolate_frechet(
        drawn.sample.features.values,
        FrechetReference.of(real.features.values, device=device),
        points=options.extrapolation_points,
        smallest=max(dimensions, drawn.count // 10),
        seed=options.seed,
        strata=drawn.sample.strata,
    )
    return found.value
