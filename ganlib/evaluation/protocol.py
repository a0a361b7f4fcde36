"""The whole evaluation of one generator, in its order."""

import hashlib
import importlib.metadata

import numpy as np

import ganlib.evaluation
import ganlib.inversion
import ganlib.metrics
from ganlib.config import EvaluateOptions, ExtractorOptions
from ganlib.evaluation.accuracy import accuracy_score
from ganlib.evaluation.copying import measure_copying
from ganlib.evaluation.drawing import Draw, Reference, images_code, split_features
from ganlib.evaluation.latent_space import measure_path_length, measure_truncation
from ganlib.evaluation.measuring import UNLABELLED, Findings, conditions_of, measure_classes, measure_figures
from ganlib.evaluation.reconstruction import measure_reconstruction
from ganlib.evaluation.record import (
    FORMAT_VERSION,
    ClassFigures,
    Copying,
    Evaluation,
    Figure,
    Interval,
    Reconstruction,
    Rejection,
    Translation,
    TruncationPoint,
)
from ganlib.evaluation.rejection import measure_rejection
from ganlib.evaluation.translation import measure_translation
from ganlib.metrics.chance import chance_alarm
from ganlib.metrics.checks import check_counts
from ganlib.networks.base import Critic
from ganlib.source_digest import source_digest


def evaluate(
    drawn: Draw,
    reference: Reference,
    options: EvaluateOptions,
    *,
    critic: Critic | None,
    recipe: ExtractorOptions,
) -> Evaluation:
    """Measure a draw in every way there is; what cannot be measured is in `skipped`, with the reason.

    Args:
        drawn: from the generator.
        reference: the real images.
        options: all that decides the figures.
        critic: that taught the generator; None where it was not kept.
        recipe: of the classifier behind the accuracy score.

    Raises:
        UserError: too few held-out images for the parameters.
    """
    check_counts(options, len(reference.data.test))
    findings = Findings()
    reference.notify("figures")
    measure_figures(drawn, reference, options, findings)
    classes: tuple[ClassFigures, ...] = ()
    memorisation: dict[str, Copying] = {}
    truncation: tuple[TruncationPoint, ...] = ()
    rejection: Rejection | None = None
    reconstruction: Reconstruction | None = None
    translation: Translation | None = None
    if drawn.generator.inputs is not None:  # its images follow the inputs: nothing to say of classes, copies, latents
        reference.notify("translation")
        translation = measure_translation(drawn, reference, options)
    else:
        if reference.classifier is not None and drawn.labels is not None:
            with findings.skipping("classes"):
                classes = measure_classes(drawn, reference, options, findings)
        with findings.skipping("memorisation"):
            reference.notify("memorisation")
            memorisation = measure_copying(drawn, reference, options)
        _measure_accuracy(drawn, reference, options, recipe, findings)
        truncation, rejection = _explore_latents(drawn, reference, options, critic, findings)
        if options.reconstruction.images is not None:
            with findings.skipping("reconstruction"):
                reference.notify("reconstruction")
                reconstruction = measure_reconstruction(drawn, critic, reference, options)
    return Evaluation(
        format_version=FORMAT_VERSION,
        generator_sha256=drawn.sha256,
        measured_on=measured_on(reference, options),
        alarms=_alarms(reference),
        metrics=findings.metrics,
        skipped=findings.skipped,
        classes=classes,
        memorisation=memorisation,
        truncation=truncation,
        rejection=rejection,
        reconstruction=reconstruction,
        translation=translation,
    )


def measured_on(reference: Reference, options: EvaluateOptions) -> str:
    """A digest of all that decides the figures but the generator: where it is equal they compare."""
    instrument = (
        conditions_of(reference, reference.extractor, options.samples).model_dump(),
        # Label fidelity is by the classifier, whatever the other features.
        None if reference.classifier is None else reference.classifier.weights_sha256,
        reference.data.train.digest,
        reference.given.digest,
        options.model_dump(),
        source_digest(ganlib.metrics, ganlib.evaluation, ganlib.inversion),
        images_code(),
        importlib.metadata.version("torch-fidelity"),
    )
    return hashlib.sha256(repr(instrument).encode()).hexdigest()


def _alarms(reference: Reference) -> tuple[str, ...]:
    """What is wrong with the instrument: a classifier that knows no class has figures all the same."""
    labels, classifier = reference.data.test.labels, reference.classifier
    if labels is None or classifier is None or len(np.unique(labels)) < 2:
        return ()
    seen = split_features(classifier, reference.data.test, reference.cache, reference.notify)
    alarm = chance_alarm(seen.logits.argmax(dim=1).numpy(), labels)
    return () if alarm is None else (alarm,)


def _measure_accuracy(
    drawn: Draw, reference: Reference, options: EvaluateOptions, recipe: ExtractorOptions, findings: Findings
) -> None:
    name = "domain/accuracy_score"
    if options.accuracy_score_images is None:
        return
    if reference.classifier is None:
        findings.skipped[name] = f"accuracy_score: {UNLABELLED}"
        return
    with findings.skipping(name):
        reference.notify("a classifier learns from generated images")
        found = accuracy_score(drawn, reference, recipe, options)
        with_domain = conditions_of(reference, reference.classifier, drawn.count)
        conditions = with_domain.model_copy(update={"weights_sha256": None})
        findings.metrics[name] = Figure(value=found.estimate, interval=Interval.of(found), conditions=conditions)


def _explore_latents(
    drawn: Draw, reference: Reference, options: EvaluateOptions, critic: Critic | None, findings: Findings
) -> tuple[tuple[TruncationPoint, ...], Rejection | None]:
    truncation: tuple[TruncationPoint, ...] = ()
    rejection = None
    reference.notify("latent space")
    with findings.skipping("truncation"):
        truncation = measure_truncation(drawn, reference, options)
    name = f"{reference.extractor.name}/path_length"
    with findings.skipping(name):
        found = measure_path_length(drawn, reference, options)
        conditions = conditions_of(reference, reference.extractor, options.latent.path_pairs)
        findings.metrics[name] = Figure(value=found.estimate, interval=Interval.of(found), conditions=conditions)
    if options.latent.kept_share is not None:
        if critic is None:
            findings.skipped["rejection"] = "rejection: the generator was saved without its critic; train it again"
            return truncation, None
        reference.notify("rejection by the critic")
        with findings.skipping("rejection"):
            rejection = measure_rejection(drawn, critic, reference, options)
    return truncation, rejection
