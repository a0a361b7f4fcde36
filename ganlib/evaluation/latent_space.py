"""What is learned of a generator's latent space: truncation, and how smooth it is."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ganlib.config import EvaluateOptions, GateFigure, least_images
from ganlib.errors import UserError
from ganlib.evaluation.drawing import Draw, Reference, draw
from ganlib.evaluation.record import TruncationPoint
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.estimates import Interval
from ganlib.metrics.extractors import Extractor
from ganlib.metrics.fidelity import measure
from ganlib.metrics.intervals import Sample
from ganlib.metrics.latent import path_lengths, perceptual_path_length
from ganlib.metrics.neighbourhood import NAMES
from ganlib.packaging import ImageGenerator
from ganlib.sampling import balanced_labels, inference, seeded_latents

# Taken off the path lengths at each end, as in the papers.
EXTREMES = 0.01


def measure_truncation(drawn: Draw, reference: Reference, options: EvaluateOptions) -> tuple[TruncationPoint, ...]:
    """Quality against diversity: the figures of the same latents at each psi, lowest first.

    Raises:
        UserError: images that are all the same at some psi, or too few for a figure.
    """
    points = []
    for psi in sorted(options.latent.truncations):
        known = psi == drawn.truncation
        at_psi = drawn if known else draw(drawn.generator, drawn.sha256, reference, options, truncation=psi)
        figures = figures_of(at_psi.sample, at_psi.classified(at_psi.even_rows), reference, options)
        points.append(TruncationPoint(psi=psi, figures=figures))
    return tuple(points)


def figures_of(
    compared: Sample, classified: Sample | None, reference: Reference, options: EvaluateOptions
) -> dict[str, float]:
    """FID, precision, recall, density and coverage, and label fidelity of the images with logits over their classes.

    Those with too few images to mean anything are left out.

    Raises:
        UserError: so are all of them.
    """
    sides: tuple[tuple[Sample | None, tuple[GateFigure, ...]], ...] = (
        (compared, ("fid", *NAMES)),
        (classified, ("label_fidelity",)),
    )
    count, dimensions = min(len(compared.features), len(reference.test)), compared.features.values.shape[1]
    found: dict[str, float] = {}
    needs: list[int] = []
    for sample, figures in sides:
        if sample is not None:
            least = {name: least_images(name, features=dimensions, neighbours=options.neighbours) for name in figures}
            needs += least.values()
            enough = [name for name in figures if count >= least[name]]
            found |= measure(sample, reference.test_sample, enough, options)
    if not found:
        raise UserError(
            f"figures of {count} images mean nothing, at least {min(needs)} are needed; "
            "raise evaluate.samples or provide more held-out images"
        )
    return found


def measure_path_length(drawn: Draw, reference: Reference, options: EvaluateOptions) -> Interval:
    """Perceptual path length (Karras et al. 2019, eq. 2) in the reference's features: smaller is smoother.

    Between pairs of latents along spherical arcs, at a place drawn evenly; a
    conditional generator is asked for the same class at both ends. In squared
    features over the whole arc, so it compares for one extractor only. Networks must compute in full float32: TF32
    rounds more than a step of 0.001 changes.

    Raises:
        UserError: features that are not finite, or an extractor of whole levels only.
    """
    generator, latent = drawn.generator, options.latent
    draws = [seed_for(f"path {use}", options.seed) for use in ("starts", "ends", "places")]
    # Of a step of 0.001, float32 would keep four digits.
    starts, ends = (seeded_latents(latent.path_pairs, generator.network.latent_dim, at).double() for at in draws[:2])
    places = torch.from_numpy(np.random.default_rng(draws[2]).random(latent.path_pairs))
    labels = balanced_labels(latent.path_pairs, generator.image.num_classes) if generator.conditional else None
    lengths = []
    for begin in range(0, latent.path_pairs, options.batch_size):
        rows = slice(begin, begin + options.batch_size)
        seen = _seen(generator, None if labels is None else labels[rows], reference.extractor)
        lengths.append(
            path_lengths(
                seen, starts[rows], ends[rows], places[rows], step=latent.path_step, batch_size=options.batch_size
            )
        )
    return perceptual_path_length(np.concatenate(lengths), level=options.confidence, cut=EXTREMES)


def _seen(generator: ImageGenerator, labels: Tensor | None, extractor: Extractor) -> Callable[[Tensor], Tensor]:
    """Latents [n, Z] -> features [n, D] of the images made from them, which are not rounded to uint8."""
    weight = next(generator.generator.parameters())
    classes = None if labels is None else labels.to(weight.device)

    def features_of(latents: Tensor) -> Tensor:
        with inference(generator.generator):
            images = generator.generator(latents.to(weight), classes)
            return extractor.see(images.clamp(-1, 1))

    return features_of
