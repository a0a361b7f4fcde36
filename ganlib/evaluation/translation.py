"""How near translations come to the images that are wanted, beside the inputs as they are."""

from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlib.config import LEAST_IMAGES, ClassesOptions, EvaluateOptions, kinds_of
from ganlib.degradations import inputs_of
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.record import Gain, Interval, Translation, Way
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.estimates import normal_interval, require, share_interval
from ganlib.metrics.extractors import Extractor, Features
from ganlib.metrics.frechet import FeatureStatistics, FrechetReference
from ganlib.metrics.reconstruction import HIGHEST_PSNR, PEAK, psnr, ssim
from ganlib.networks import CycleGenerator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, from_uint8, to_uint8

_Figures = dict[str, NDArray[np.float64]]


def measure_translation(drawn: Draw, reference: Reference, options: EvaluateOptions) -> Translation:
    """Translate every held-out input twice, with other latents, and compare with what was wanted and with the input.

    Two translators are also measured each and there and back.

    Raises:
        UserError: fewer than 20 held-out images.
    """
    split, generator = reference.given, drawn.generator
    assert generator.inputs is not None
    require("translation", {split.name: min(len(split), len(reference.data.test))}, LEAST_IMAGES, "an interval")
    rows = np.arange(len(split))
    inputs = inputs_of(split, rows, generator.inputs, seed=options.seed)
    pictures = {"input": to_uint8(inputs)}
    for name in ("made", "again"):
        pictures[name] = _translated(generator, inputs, name, options)
    wanted = reference.data.test.take(np.arange(len(reference.data.test)))
    features = {name: _seen(reference.extractor, pictures[name], options) for name in ("input", "made")}
    gains = {}
    if not isinstance(generator.inputs, ClassesOptions):  # each input has been made of an image
        unit = float(torch.pdist(reference.test.values.double()[:1000]).mean())
        made, as_given = (
            _figures(wanted, pictures[name], features[name], reference, unit) for name in ("made", "input")
        )
        gains = {name: _gain(made[name], as_given[name], options.confidence) for name in made}
    real = FrechetReference(FeatureStatistics.of(reference.test.values))
    return Translation(
        images=len(split),
        gains=gains,
        input_fid=real.distance_to(features["input"].values),
        diversity=_mean(_rms(pictures["made"], pictures["again"]), options.confidence),
        ways=_both_ways(generator, inputs, wanted, reference, options)
        if isinstance(generator.generator, CycleGenerator)
        else (),
    )


def _translated(generator: ImageGenerator, inputs: Tensor, name: str, options: EvaluateOptions) -> Images:
    """With latents that the name decides."""
    size, parts = options.batch_size, []
    for start in range(0, len(inputs), size):
        seed = seed_for(f"translation {name} {start}", options.seed)
        parts.append(generator.translate(inputs[start : start + size], seed=seed, batch_size=size))
    return np.concatenate(parts)


def _both_ways(
    generator: ImageGenerator, inputs: Tensor, wanted: Images, reference: Reference, options: EvaluateOptions
) -> tuple[Way, ...]:
    """Of the inputs [N, C, H, W], which the first way is given, and the images [M, H, W, C] that the other is given."""
    return tuple(
        _way(generator, way, given, (to_uint8(inputs), wanted)[1 - way], reference, options)
        for way, given in enumerate((inputs, from_uint8(wanted)))
    )


def _way(
    generator: ImageGenerator, way: int, given: Tensor, like: Images, reference: Reference, options: EvaluateOptions
) -> Way:
    """What becomes of `given` [N, C, H, W], beside held-out images of the kind that is made, `like` [M, H, W, C]."""
    assert generator.inputs is not None
    start = to_uint8(given)
    made = _translated(generator.way(way), given, f"way {way}", options)
    back = _translated(generator.way(1 - way), from_uint8(made), f"way {way} and back", options)
    target, found, as_given = (_seen(reference.extractor, each, options).values for each in (like, made, start))
    real = FrechetReference(FeatureStatistics.of(target))
    agreements = _Agreements(generator, way, start, like, reference, options)
    apart = np.abs(start.astype(np.float64) - back).reshape(len(start), -1).mean(axis=1) / PEAK
    return Way(
        made=kinds_of(generator.inputs)[way],
        images=len(start),
        fid=real.distance_to(found),
        input_fid=real.distance_to(as_given),
        agreement=agreements.of_made(made),
        input_agreement=agreements.of_made(start),
        cycle_psnr=_mean(np.minimum(psnr(start, back), HIGHEST_PSNR), options.confidence),
        cycle_error=_mean(apart, options.confidence),
        cycle_agreement=agreements.of_returned(back),
    )


class _Agreements:
    """In how many images the data set's classifier sees what it should; it knows no degraded images."""

    def __init__(
        self,
        generator: ImageGenerator,
        way: int,
        start: Images,
        like: Images,
        reference: Reference,
        options: EvaluateOptions,
    ) -> None:
        self._classifier, self._options = reference.classifier, options
        self._made: NDArray[np.int64] | None = None
        self._returned: NDArray[np.int64] | None = None
        if self._classifier is None:
            return
        if isinstance(generator.inputs, ClassesOptions):
            names, kinds = generator.image.classes, kinds_of(generator.inputs)
            self._made, self._returned = (np.full(len(start), names.index(kinds[each])) for each in (way, 1 - way))
        elif way == 0:
            self._made = self._classes(like)
        else:
            self._returned = self._classes(start)

    def of_made(self, images: Images) -> Interval | None:
        """With the class that is wanted of each input."""
        return self._share(images, self._made)

    def of_returned(self, images: Images) -> Interval | None:
        """With the class of each input."""
        return self._share(images, self._returned)

    def _share(self, images: Images, expected: NDArray[np.int64] | None) -> Interval | None:
        if expected is None:
            return None
        share = float((self._classes(images) == expected).mean())
        return Interval.of(share_interval(share, len(images), self._options.confidence))

    def _classes(self, images: Images) -> NDArray[np.int64]:
        assert self._classifier is not None
        classes: NDArray[np.int64] = _seen(self._classifier, images, self._options).logits.argmax(dim=1).numpy()
        return classes


def _seen(extractor: Extractor, images: Images, options: EvaluateOptions) -> Features:
    size = options.batch_size
    return extractor.extract_all(images[start : start + size] for start in range(0, len(images), size))


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
