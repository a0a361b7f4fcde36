"""How near translations come to the images that are wanted, beside the inputs as they are."""

from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.config import LEAST_IMAGES, EvaluateOptions
from ganlib.degradations import degraded_rows
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.record import Gain, Interval, Translation
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.estimates import normal_interval, require
from ganlib.metrics.extractors import Features
from ganlib.metrics.frechet import FeatureStatistics, FrechetReference
from ganlib.metrics.reconstruction import HIGHEST_PSNR, PEAK, psnr, ssim
from ganlib.sampling import Images, to_uint8

_Figures = dict[str, NDArray[np.float64]]


def measure_translation(drawn: Draw, reference: Reference, options: EvaluateOptions) -> Translation:
    """Translate every held-out image twice, with other latents, and compare with what was wanted and with the input.

    Raises:
        UserError: fewer than 20 held-out images.
    """
    split, generator = reference.data.test, drawn.generator
    assert generator.inputs is not None
    require("translation", {split.name: len(split)}, LEAST_IMAGES, "an interval")
    given: dict[str, list[Images]] = {"input": [], "made": [], "again": []}
    for start in range(0, len(split), options.batch_size):
        rows = np.arange(start, min(start + options.batch_size, len(split)))
        inputs = degraded_rows(split.take(rows), rows, generator.inputs, seed=options.seed)
        given["input"].append(to_uint8(inputs))
        for name in ("made", "again"):
            seed = seed_for(f"translation {name} {start}", options.seed)
            given[name].append(generator.translate(inputs, seed=seed, batch_size=options.batch_size))
    pictures = {name: np.concatenate(parts) for name, parts in given.items()}
    wanted = split.take(np.arange(len(split)))
    features = {name: reference.extractor.extract_all([pictures[name]]) for name in ("input", "made")}
    unit = float(torch.pdist(reference.test.values.double()[:1000]).mean())
    made, as_given = (_figures(wanted, pictures[name], features[name], reference, unit) for name in ("made", "input"))
    real = FrechetReference(FeatureStatistics.of(reference.test.values))
    return Translation(
        images=len(wanted),
        gains={name: _gain(made[name], as_given[name], options.confidence) for name in made},
        input_fid=real.distance_to(features["input"].values),
        diversity=_mean(_rms(pictures["made"], pictures["again"]), options.confidence),
    )


def _figures(wanted: Images, found: Images, seen: Features, reference: Reference, unit: float) -> _Figures:
    """Of each image, [N]."""
    apart = (seen.values.double() - reference.test.values.double()).norm(dim=1)
    return {
        "psnr": np.minimum(psnr(wanted, found), HIGHEST_PSNR),
        "ssim": ssim(wanted, found),
        "distance": (apart / unit).numpy(),
    }


def _rms(one: Images, other: Images) -> NDArray[np.float64]:
    """Root mean square difference of each pair, as a share of the range of values."""
    apart = (one.astype(np.float64) - other.astype(np.float64)) / PEAK
    found: NDArray[np.float64] = np.sqrt(np.square(apart).reshape(len(one), -1).mean(axis=1))
    return found


def _gain(made: NDArray[np.float64], given: NDArray[np.float64], level: float) -> Gain:
    return Gain(made=_mean(made, level), given=_mean(given, level), difference=_mean(made - given, level))


def _mean(values: NDArray[np.float64], level: float) -> Interval:
    return Interval.of(normal_interval(float(values.mean()), float(values.std(ddof=1)) / sqrt(len(values)), level))
