"""How near translations come to the images that are wanted, beside the inputs as they are."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlib.config import (
    LEAST_IMAGES,
    ClassStylesOptions,
    DegradedStylesOptions,
    EvaluateOptions,
    StyleInputsOptions,
    classes_of,
    kinds_of,
)
from ganlib.degradations import inputs_of, styled_rows
from ganlib.evaluation.drawing import Draw, Reference
from ganlib.evaluation.record import Gain, Interval, Translation, Way
from ganlib.evaluation.seeds import seed_for
from ganlib.metrics.estimates import normal_interval, require, share_interval
from ganlib.metrics.extractors import DomainExtractor, Extractor, Features
from ganlib.metrics.frechet import FeatureStatistics, FrechetReference
from ganlib.metrics.reconstruction import HIGHEST_PSNR, PEAK, psnr, ssim
from ganlib.networks import ManyWays
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, from_uint8, to_uint8

PROBE_RIDGE = 1e-2  # of the mean square of features
_Figures = dict[str, NDArray[np.float64]]


def measure_translation(drawn: Draw, reference: Reference, options: EvaluateOptions) -> Translation:
    """Translate every held-out input twice, with other latents, and compare with what was wanted and with the input.

    A translator into several kinds is also measured for each of them, and there and back.

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
    if not classes_of(generator.inputs):  # each input has been made of an image
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
        ways=_all_ways(generator, inputs, wanted, reference, options)
        if isinstance(generator.generator, ManyWays)
        else (),
    )


def _translated(generator: ImageGenerator, inputs: Tensor, name: str, options: EvaluateOptions) -> Images:
    """With latents that the name decides."""
    size, parts = options.batch_size, []
    for start in range(0, len(inputs), size):
        seed = seed_for(f"translation {name} {start}", options.seed)
        parts.append(generator.translate(inputs[start : start + size], seed=seed, batch_size=size))
    return np.concatenate(parts)


def _all_ways(
    generator: ImageGenerator, inputs: Tensor, wanted: Images, reference: Reference, options: EvaluateOptions
) -> tuple[Way, ...]:
    """Each kind of images made of all the others."""
    kinds = _held_out(generator, inputs, wanted, reference, options)
    seen = [_seen(reference.extractor, to_uint8(each), options).values for each in kinds]
    probe = _StyleProbe(seen) if isinstance(generator.inputs, StyleInputsOptions) else None
    return tuple(_way(generator, way, kinds, seen, probe, reference, options) for way in range(len(kinds)))


def _held_out(
    generator: ImageGenerator, inputs: Tensor, wanted: Images, reference: Reference, options: EvaluateOptions
) -> list[Tensor]:
    """Held-out images of each kind, [M, C, H, W]; where kinds are made from images, of the same ones in all."""
    match generator.inputs:
        case DegradedStylesOptions(styles=styles) as given:
            rows = np.arange(len(wanted))
            return [
                styled_rows(wanted, rows, given, np.full(len(rows), style), seed=options.seed)
                for style in range(1 + len(styles))
            ]
        case ClassStylesOptions(classes=names):
            assert reference.given.labels is not None
            places = [generator.image.classes.index(name) for name in names[1:]]
            others = [inputs[torch.from_numpy(reference.given.labels == place)] for place in places]
            return [from_uint8(wanted), *others]
        case _:
            return [from_uint8(wanted), inputs]


def _way(
    generator: ImageGenerator,
    way: int,
    kinds: Sequence[Tensor],
    seen: Sequence[Tensor],
    probe: "_StyleProbe | None",
    reference: Reference,
    options: EvaluateOptions,
) -> Way:
    """What becomes of images of the other kinds, beside those of the kind that is made.

    Args:
        generator: of all ways.
        way: which one.
        kinds: held-out images of each, [M, C, H, W].
        seen: their features, [M, F].
        probe: tells styles; None where there are none.
        reference: the real images.
        options: of the evaluation.
    """
    assert generator.inputs is not None
    aligned = not classes_of(generator.inputs)
    given, own = _others(kinds, way, aligned=aligned), _others(_numbered(kinds), way, aligned=aligned).numpy()
    start = to_uint8(given)
    made = _translated(generator.way(way), given, f"way {way}", options)
    back = np.empty_like(made)
    for kind in np.unique(own):
        rows = own == kind
        back[rows] = _translated(generator.way(int(kind)), from_uint8(made[rows]), f"way {way} and back", options)
    found, as_given = _seen(reference.extractor, made, options).values, _others(seen, way, aligned=aligned)
    real = FrechetReference(FeatureStatistics.of(seen[way]))
    agreement = _Agreement(reference.classifier, options)
    wanted, returned = _classes_expected(generator, way, own, start, to_uint8(kinds[way]), agreement)
    apart = np.abs(start.astype(np.float64) - back).reshape(len(start), -1).mean(axis=1) / PEAK
    return Way(
        made=kinds_of(generator.inputs)[way],
        images=len(start),
        fid=real.distance_to(found),
        input_fid=real.distance_to(as_given),
        agreement=agreement.share(made, wanted),
        input_agreement=agreement.share(start, wanted),
        style_agreement=None if probe is None else probe.share(found, way, options.confidence),
        real_style_agreement=None if probe is None else probe.share(seen[way][1::2], way, options.confidence),
        cycle_psnr=_mean(np.minimum(psnr(start, back), HIGHEST_PSNR), options.confidence),
        cycle_error=_mean(apart, options.confidence),
        cycle_agreement=agreement.share(back, returned),
    )


def _others(kinds: Sequence[Tensor], way: int, *, aligned: bool) -> Tensor:
    """What is known of the images of all kinds but one; of aligned ones each image once, in the others in turns."""
    others = [each for kind, each in enumerate(kinds) if kind != way]
    if not aligned:
        return torch.cat(others)
    return torch.stack([others[row % len(others)][row] for row in range(len(others[0]))])


def _numbered(kinds: Sequence[Tensor]) -> list[Tensor]:
    return [torch.full((len(each),), kind) for kind, each in enumerate(kinds)]


def _classes_expected(
    generator: ImageGenerator, way: int, own: NDArray[np.int64], start: Images, like: Images, agreement: "_Agreement"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class [N] that each translation should show, and that of what comes back of it; -1 where it is not known.

    The data set's classifier knows no degraded images.
    """
    assert generator.inputs is not None
    unknown = np.full(len(own), -1)
    if agreement.classifier is None:
        return unknown, unknown
    if classes_of(generator.inputs):
        places = np.array([generator.image.classes.index(name) for name in kinds_of(generator.inputs)])
        return np.full(len(own), places[way]), places[own]
    if way == 0:
        return agreement.classes(like), unknown
    return unknown, np.where(own == 0, agreement.classes(start), unknown)


class _Agreement:
    """In how many images the data set's classifier sees what it should."""

    def __init__(self, classifier: DomainExtractor | None, options: EvaluateOptions) -> None:
        self.classifier, self._options = classifier, options

    def share(self, images: Images, expected: NDArray[np.int64]) -> Interval | None:
        """Of the images whose class is known; None where none is."""
        known = expected >= 0
        if not known.any():
            return None
        share = float((self.classes(images[known]) == expected[known]).mean())
        return Interval.of(share_interval(share, int(known.sum()), self._options.confidence))

    def classes(self, images: Images) -> NDArray[np.int64]:
        """What it sees in each image, [N]."""
        assert self.classifier is not None
        classes: NDArray[np.int64] = _seen(self.classifier, images, self._options).logits.argmax(dim=1).numpy()
        return classes


class _StyleProbe:
    """Tells styles by a linear function of features, which half of the held-out images of each style decide."""

    def __init__(self, seen: Sequence[Tensor]) -> None:
        """`seen` are the features of each style, [M, F]; those at even places are learned from."""
        learned = torch.cat([each[::2].double() for each in seen])
        styles = torch.cat([each[::2] for each in _numbered(seen)])
        self._mean = learned.mean(dim=0)
        centred, told = learned - self._mean, torch.nn.functional.one_hot(styles, len(seen)).double()
        products = centred.T @ centred
        ridge = PROBE_RIDGE * products.diagonal().mean() * torch.eye(len(products), dtype=torch.float64)
        self._weights = torch.linalg.solve(products + ridge, centred.T @ (told - told.mean(dim=0)))
        self._shares = told.mean(dim=0)

    def share(self, features: Tensor, style: int, level: float) -> Interval:
        """In how many images, by their features [N, F], it sees a style."""
        told = (features.double() - self._mean) @ self._weights + self._shares
        share = float((told.argmax(dim=1) == style).double().mean())
        return Interval.of(share_interval(share, len(features), level))


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
