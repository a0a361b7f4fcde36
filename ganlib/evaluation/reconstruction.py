"""How well held-out images are found in the latent space, and training images beside them."""

from math import hypot, sqrt

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import LEAST_IMAGES, EvaluateOptions
from ganlib.datasets.packed.reading import Split
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.record import BothSplits, Interval, Reconstruction
from ganlib.evaluation.seeds import seed_for
from ganlib.inversion.projection import reconstruct
from ganlib.metrics.estimates import normal_interval, require
from ganlib.metrics.extractors import Features
from ganlib.metrics.reconstruction import HIGHEST_PSNR, psnr, ssim
from ganlib.networks.base import Critic

# Generated images whose mean distance is the unit of distances: half a million pairs.
MOST_APART = 1000

_Figures = dict[str, NDArray[np.float64]]


def measure_reconstruction(
    drawn: Draw, critic: Critic | None, reference: Reference, options: EvaluateOptions
) -> Reconstruction:
    """Reconstruct random images of both splits, of their own classes where the generator can be asked for these.

    Raises:
        UserError: fewer than 20 images in a split, or the search's parameters do not fit the generator.
    """
    held_out, training = (
        _figures(split, features, drawn, critic, reference, options)
        for split, features in ((reference.data.test, reference.test), (reference.data.train, reference.train))
    )
    return Reconstruction(
        held_out=len(held_out["psnr"]),
        training=len(training["psnr"]),
        **{name: _compared(held_out[name], training[name], options.confidence) for name in held_out},
    )


def _figures(
    split: Split,
    features: Features,
    drawn: Draw,
    critic: Critic | None,
    reference: Reference,
    options: EvaluateOptions,
) -> _Figures:
    """Of each image, [n]."""
    assert options.reconstruction.images is not None
    require("reconstruction", {split.name: len(split)}, LEAST_IMAGES, "an interval")
    random = np.random.default_rng(seed_for(f"reconstruction {split.name}", options.seed))
    count = min(len(split), options.reconstruction.images)
    rows = np.sort(random.choice(len(split), count, replace=False))
    images, labels = split.take(rows), None
    if drawn.generator.conditional:
        assert split.labels is not None
        labels = torch.from_numpy(split.labels[rows].astype(np.int64))
    found = reconstruct(
        drawn.generator,
        images,
        options.reconstruction,
        seed=seed_for("reconstruction", options.seed),
        labels=labels,
        critic=critic,
        notify=lambda text: reference.notify(f"{split.name} images: {text}"),
    )
    seen = reference.extractor.extract(found.images).values.double()
    unit = torch.pdist(drawn.sample.features.values[:MOST_APART].double()).mean()
    return {
        "psnr": np.minimum(psnr(images, found.images), HIGHEST_PSNR),
        "ssim": ssim(images, found.images),
        "distance": ((seen - features.values[torch.from_numpy(rows)].double()).norm(dim=1) / unit).numpy(),
    }


def _compared(held_out: NDArray[np.float64], training: NDArray[np.float64], level: float) -> BothSplits:
    means = [float(side.mean()) for side in (held_out, training)]
    errors = [float(side.std(ddof=1)) / sqrt(len(side)) for side in (held_out, training)]
    one, other = (Interval.of(normal_interval(mean, error, level)) for mean, error in zip(means, errors, strict=True))
    apart = normal_interval(means[1] - means[0], hypot(*errors), level)
    return BothSplits(held_out=one, training=other, difference=Interval.of(apart))
