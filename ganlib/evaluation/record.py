"""What an evaluation found, as it is written down: `reports/evaluation.json`, and all that is made from it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ganlib.config import Options, read_record
from ganlib.errors import UserError

if TYPE_CHECKING:
    from ganlib.metrics import estimates
    from ganlib.metrics.memorisation import Memorisation

FORMAT_VERSION = 7


class Interval(Options):
    """Where a figure lies with confidence `level`, and the estimate in the middle.

    The estimate of a distance, a score or diversity is free of the bias of small samples; precision,
    recall, density and coverage are those of as many images.
    """

    estimate: float
    low: float
    high: float
    level: float

    @classmethod
    def of(cls, found: "estimates.Interval") -> Self:
        """Plain numbers of a metric's interval."""
        return cls(
            estimate=float(found.estimate), low=float(found.low), high=float(found.high), level=float(found.level)
        )


class Conditions(Options):
    """What a figure was measured on.

    Attributes:
        extractor: whose features.
        weights_sha256: of the extractor; None where it was trained for this figure only and not kept.
        alpha: what became of a fourth channel; None without one.
        reference: the split compared with.
        reference_digest: of its content.
        reference_count: real images.
        generated_count: generated images.
        resizer: that brought the real images to size.
    """

    extractor: str
    weights_sha256: str | None
    alpha: str | None
    reference: str
    reference_digest: str
    reference_count: int
    generated_count: int
    resizer: str


class Figure(Options):
    """One metric: the value as usually reported, and its interval where one is known."""

    value: float
    interval: Interval | None
    conditions: Conditions


class ClassFigures(Options):
    """One class of the data set; None where there are too few images to say.

    Attributes:
        name: of the class.
        generated, real: images of it on each side.
        fid: with all features, biased upwards at such sizes.
        distance: Fréchet distance in the leading directions, free of bias: what classes are ranked by.
        label_fidelity: share of generated images that the classifier takes for this class.
        diversity: mean distance within the class, generated over real.
    """

    name: str
    generated: int
    real: int
    fid: float | None
    distance: Interval | None
    label_fidelity: Interval
    diversity: float | None


class Suspect(Options):
    """A generated image (its index in the draw), the training image it is closest to, and how close."""

    generated: int
    training: int
    distance: float
    ratio: float


class Copying(Options):
    """Generated against held-out images, both seen from the training set, in one space; see `Memorisation`."""

    p_value: float
    share: Interval
    authenticity: Interval
    held_out_authenticity: float
    copying: float
    near_duplicates: int
    held_out: int
    suspects: tuple[Suspect, ...]

    @property
    def overlap(self) -> str:
        """How many held-out images are as near to a training image as a copy with a little noise is, in words."""
        return f"{self.near_duplicates} of {self.held_out} held-out images have a near duplicate in the training set"

    @property
    def blind(self) -> str | None:
        """Why copies cannot be told here, and what helps: less than half of them are more than held-out images have."""
        if 2 * self.near_duplicates <= self.held_out:
            return None
        return (
            f"{self.overlap}, so copies cannot be told; keep images of one scene or video in one split "
            "(data.split=source) or set data.cleaning.policy.near_duplicate=drop"
        )

    @classmethod
    def of(cls, found: "Memorisation") -> Self:
        """Plain numbers of what the metric found."""
        return cls(
            p_value=float(found.p_value),
            share=Interval.of(found.share),
            authenticity=Interval.of(found.authenticity),
            held_out_authenticity=float(found.held_out_authenticity),
            copying=float(found.copying),
            near_duplicates=found.near_duplicates,
            held_out=found.held_out,
            suspects=tuple(
                Suspect(
                    generated=each.generated,
                    training=each.training,
                    distance=float(each.distance),
                    ratio=float(each.ratio),
                )
                for each in found.suspects
            ),
        )


class TruncationPoint(Options):
    """The figures (fid, precision, recall, coverage, …) of a draw at truncation psi."""

    psi: float
    figures: dict[str, float]


class Rejection(Options):
    """What discriminator rejection sampling would change, on as many images before and after.

    Attributes:
        kept_share: of images that were kept.
        count: images in each of the two sets.
        before, after: figures by name.
    """

    kept_share: float
    count: int
    before: dict[str, float]
    after: dict[str, float]


class BothSplits(Options):
    """Means of one figure over images of each split.

    Attributes:
        held_out, training: of the images of the split.
        difference: training less held-out; of independent images, so that it is as unsure as both.
    """

    held_out: Interval
    training: Interval
    difference: Interval


class Reconstruction(Options):
    """How well images are found in the latent space; training images better than held-out ones: they were learned.

    Attributes:
        held_out, training: images of each split.
        psnr: in dB; of an image that comes back exactly that of rounding, 58.9.
        ssim: 1 for equal images.
        distance: of features, over the mean distance between samples.
    """

    held_out: int
    training: int
    psnr: BothSplits
    ssim: BothSplits
    distance: BothSplits

    @property
    def by_name(self) -> dict[str, BothSplits]:
        """The three figures."""
        return {"psnr": self.psnr, "ssim": self.ssim, "distance": self.distance}


class Gain(Options):
    """Means of one figure over held-out images: of translations, of the inputs as they were given, and between them.

    The difference is of pairs, so it is surer than both.
    """

    made: Interval
    given: Interval
    difference: Interval


class Way(Options):
    """One way of a translator into several kinds of images, on held-out images of the other kinds.

    Attributes:
        made: the kind of images that it makes.
        images: translated.
        fid: of the translations to held-out images of this kind; `input_fid` of the inputs as they were given.
        agreement: share of translations in which the data set's classifier sees the class that is wanted, that of the
            image behind the input or the class that is made; None where it knows no such images.
            `input_agreement` of the inputs as they were given.
        style_agreement: share of translations in which a linear function of features sees the style that is wanted, of
            a translator into several styles, else None; `real_style_agreement` of held-out images of this style.
        cycle_psnr: in dB, of inputs and what comes back of them by the way of their own kind.
        cycle_error: mean absolute difference of these, as a share of the range of values.
        cycle_agreement: share of what comes back in which the classifier sees the class of the input; None likewise.
    """

    made: str
    images: int
    fid: float
    input_fid: float
    agreement: Interval | None
    input_agreement: Interval | None
    style_agreement: Interval | None
    real_style_agreement: Interval | None
    cycle_psnr: Interval
    cycle_error: Interval
    cycle_agreement: Interval | None

    def figures(self) -> dict[str, float]:
        """Numbers alone."""
        numbers = {"fid": self.fid, "fid_of_inputs": self.input_fid}
        intervals = {
            "agreement": self.agreement,
            "agreement_of_inputs": self.input_agreement,
            "style_agreement": self.style_agreement,
            "style_agreement_of_real": self.real_style_agreement,
            "cycle_psnr": self.cycle_psnr,
            "cycle_error": self.cycle_error,
            "cycle_agreement": self.cycle_agreement,
        }
        return numbers | {
            f"{name}{end}": value
            for name, sure in intervals.items()
            if sure is not None
            for end, value in (("", sure.estimate), ("_low", sure.low), ("_high", sure.high))
        }


class Translation(Options):
    """How near translations of held-out inputs come to the images that are wanted.

    Attributes:
        images: held-out inputs.
        gains: `psnr` in dB, `ssim`, `distance` of features over the mean distance between held-out images; none where
            no one image is wanted of an input.
        input_fid: of the inputs as they were given; a translator's own is among the metrics.
        diversity: root mean square difference between two translations of one input, as a share of the range.
        ways: of a translator into several kinds without pairs, else none.
    """

    images: int
    gains: dict[str, Gain]
    input_fid: float
    diversity: Interval
    ways: tuple[Way, ...]


class Evaluation(Options):
    """Everything that was measured of one generator.

    Attributes:
        format_version: of this record.
        generator_sha256: of the generator.
        measured_on: a digest of extractor, splits, parameters and metric code: figures compare where it is equal.
        alarms: why figures mean less than they seem to, a line each.
        metrics: by name, `<extractor>/<figure>`.
        skipped: name of what was asked for and cannot be measured -> why, and what to do.
        classes: from the worst to the best; those that cannot be ranked last.
        memorisation: space (`features`, `pixels`) -> what was found.
        truncation: from the lowest psi on.
        rejection: None where it was not asked for or is in `skipped`.
        reconstruction: likewise.
        translation: None of a generator that is given no images.
    """

    format_version: int
    generator_sha256: str
    measured_on: str
    alarms: tuple[str, ...]
    metrics: dict[str, Figure]
    skipped: dict[str, str]
    classes: tuple[ClassFigures, ...]
    memorisation: dict[str, Copying]
    truncation: tuple[TruncationPoint, ...]
    rejection: Rejection | None
    reconstruction: Reconstruction | None
    translation: Translation | None

    def figures(self) -> dict[str, dict[str, float]]:
        """Numbers alone, grouped by extractor: {"domain": {"fid": …, "fid_low": …, "fid_high": …}}."""
        grouped: dict[str, dict[str, float]] = {}
        for name, figure in self.metrics.items():
            extractor, metric = name.split("/")
            group = grouped.setdefault(extractor, {})
            group[metric] = figure.value
            if figure.interval is not None:
                group |= {f"{metric}_low": figure.interval.low, f"{metric}_high": figure.interval.high}
        for space, found in self.memorisation.items():
            grouped.setdefault("memorisation", {}).update(
                {
                    f"{space}_share": found.share.estimate,
                    f"{space}_p_value": found.p_value,
                    f"{space}_near_duplicates": found.near_duplicates,
                }
            )
        if self.reconstruction is not None:
            grouped["reconstruction"] = {
                f"{name}_{split}{end}": value
                for name, found in self.reconstruction.by_name.items()
                for split, sure in (("held_out", found.held_out), ("train", found.training))
                for end, value in (("", sure.estimate), ("_low", sure.low), ("_high", sure.high))
            }
        if self.translation is not None:
            grouped["translation"] = {
                f"{name}{of}{end}": value
                for name, gain in self.translation.gains.items()
                for of, sure in (("", gain.made), ("_of_inputs", gain.given), ("_gain", gain.difference))
                for end, value in (("", sure.estimate), ("_low", sure.low), ("_high", sure.high))
            } | {"fid_of_inputs": self.translation.input_fid, "diversity": self.translation.diversity.estimate}
            ways = self.translation.ways
            names = ("there", "back") if len(ways) == 2 else [f"way_{place}" for place in range(len(ways))]
            for prefix, way in zip(names, ways, strict=True):
                grouped["translation"] |= {f"{prefix}_{name}": value for name, value in way.figures().items()}
        return grouped

    def write(self, path: Path) -> None:
        """Write it as JSON, aside first; equal evaluations give equal bytes."""
        partial = path.with_name(f".{path.name}.partial")
        text = json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            UserError: missing, damaged or of another format version.
        """
        found = read_record(cls, path, "evaluate")
        if found.format_version != FORMAT_VERSION:
            raise UserError(
                f"{path}: format {found.format_version}, expected {FORMAT_VERSION}; run the evaluate stage again"
            )
        return found
