"""The stages around the training: extractor, evaluation, registry, flow."""

from math import ceil
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from ganlib.config.base import EXTRACTORS, DeviceName, ExtractorName, Options, PositiveInt, PretrainedName, Seed, Share

Sha256Start = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
Level = Annotated[float, Field(gt=0.5, le=0.9999)]
NonNegative = Annotated[float, Field(ge=0)]


class ExtractorOptions(Options):
    """What looks at the images: the classifier behind the `domain` features, and the weights of pretrained networks.

    `seed` is also that of the `random` extractor's weights. Weights that are not among `weights_files` come
    from their official address.
    """

    width: PositiveInt
    feature_dim: Annotated[int, Field(ge=2, strict=True)]
    total_images: PositiveInt
    batch_size: PositiveInt
    learning_rate: Annotated[float, Field(gt=0)]
    seed: Seed
    device: DeviceName
    threads: PositiveInt
    weights_files: dict[PretrainedName, str]
    weights_sha256: dict[PretrainedName, Sha256Start]


class LatentOptions(Options):
    """What is learned of the latent space.

    Attributes:
        truncations: psi, by which the latents are scaled, of the curve of quality against diversity; none: it is not
            measured.
        path_pairs: pairs of latents of the perceptual path length.
        path_step: of it, as a share of the arc; a smaller one drowns in the rounding of float32 images.
        kept_share: of images that rejection by the critic keeps; None: it is not measured.
    """

    truncations: tuple[Annotated[float, Field(gt=0, le=1)], ...]
    path_pairs: Annotated[int, Field(ge=100, strict=True)]
    path_step: Annotated[float, Field(ge=1e-4, lt=1)]
    kept_share: Annotated[float, Field(gt=0, lt=1)] | None


class ReconstructionOptions(Options):
    """How the latents of an image are searched for, and how many images it is measured on.

    Attributes:
        images: of each split that `evaluate` reconstructs; None: it does not.
        candidates: samples, over all classes, among which each image's searches start at the nearest.
        starts: searches an image.
        steps: of Adam, whose rate falls from `learning_rate` to 0 along a cosine.
        feature_weight: of the relative squared difference of the critic's features, beside that of pixels.
        prior_weight: of the mean square of the latents, which keeps them typical.
        batch_size: images at a time; bounds memory, changes the last digits.
        precision: of the search; what is found is judged in fp32.
    """

    images: Annotated[int, Field(ge=20, strict=True)] | None
    candidates: PositiveInt
    starts: PositiveInt
    steps: PositiveInt
    learning_rate: Annotated[float, Field(gt=0)]
    feature_weight: NonNegative
    prior_weight: NonNegative
    batch_size: PositiveInt
    precision: Literal["fp32", "bf16"]


class EvaluateOptions(Options):
    """The final measurement: one draw of `samples` images, and how sure each figure is.

    Attributes:
        confidence: of every interval.
        interval_splits: random halvings behind the intervals of neighbourhood metrics; 60 leave 9 % of error in them.
        extrapolation_points: subset sizes of the line that leads to FID at infinitely many images.
        near_copies: how many of the generated images nearest to training images are shown.
        accuracy_score_images: images shown to the classifier that learns from generated images; None: it does not.
    """

    extractor: ExtractorName
    seed: Seed
    device: DeviceName
    threads: PositiveInt
    batch_size: PositiveInt
    samples: Annotated[int, Field(ge=2, le=10_000_000, strict=True)]
    confidence: Level
    interval_splits: Annotated[int, Field(ge=20, strict=True)]
    kid_subsets: PositiveInt
    kid_subset_size: Annotated[int, Field(ge=2, strict=True)]
    is_splits: PositiveInt
    neighbours: PositiveInt
    extrapolation_points: Annotated[int, Field(ge=3, strict=True)]
    near_copies: PositiveInt
    accuracy_score_images: PositiveInt | None
    latent: LatentOptions
    reconstruction: ReconstructionOptions

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        needs = {
            "kid_subset_size": self.kid_subset_size,
            "is_splits": 2 * self.is_splits,
            "neighbours": self.neighbours + 1,
        }
        for name, least in needs.items():
            if self.samples < least:
                raise ValueError(f"samples={self.samples} is fewer than {name} needs ({least}); raise samples")
        return self


# With fewer images for each feature the bias of FID cannot be told from the distance.
FID_IMAGES_PER_FEATURE = 1.25
# With fewer no figure but those of neighbours and FID, which need more, has an interval.
LEAST_IMAGES = 20
# With fewer the random halves behind an interval are noise.
NEIGHBOURHOOD_IMAGES, NEIGHBOURHOOD_IMAGES_PER_NEIGHBOUR = 100, 8
# How many features networks have whose size is no parameter.
FEATURES: dict[ExtractorName, int] = {
    "random": 2048, "random-96": 2048, "inception": 2048, "vgg16": 4096,
    "clip-rn50": 1024, "clip-rn101": 512, "clip-rn50x4": 640, "clip-rn50x16": 768, "clip-rn50x64": 1024,
    "clip-vit-b-32": 512, "clip-vit-b-16": 512, "clip-vit-l-14": 768, "clip-vit-l-14-336px": 768,
    "dinov2-vit-s-14": 384, "dinov2-vit-b-14": 768, "dinov2-vit-l-14": 1024, "dinov2-vit-g-14": 1536,
    "efficientnet-lite0": 1280,
}  # fmt: skip

# That the published Inception tells apart, a background among them.
INCEPTION_CLASSES = 1008

# What two generators are compared by; each has an interval.
GateFigure = Literal["fid", "kid", "is", "precision", "recall", "density", "coverage", "diversity", "label_fidelity"]


def least_images(figure: GateFigure, *, features: int, neighbours: int) -> int:
    """Of each side that a figure looks at, at least, for it to mean anything."""
    match figure:
        case "fid":
            return max(LEAST_IMAGES, ceil(FID_IMAGES_PER_FEATURE * features))
        case "precision" | "recall" | "density" | "coverage":
            return max(NEIGHBOURHOOD_IMAGES, NEIGHBOURHOOD_IMAGES_PER_NEIGHBOUR * neighbours)
        case _:
            return LEAST_IMAGES


class GuardOptions(Options):
    """What a challenger must keep, whatever else it gains; None: the guard is off.

    Attributes:
        coverage_drop: most that coverage may fall below the champion's.
        label_fidelity_drop: most that label fidelity may fall below the champion's; conditional generators only.
        worst_class_rise: most that the challenger's worst class may lie farther away than the champion's same class.
        memorised_share: most of the images, beyond what chance makes, that may be near copies of training images.
    """

    coverage_drop: Share | None
    label_fidelity_drop: Share | None
    worst_class_rise: NonNegative | None
    memorised_share: Share | None


LOWER_IS_BETTER = frozenset({"fid", "kid", "worst_class"})  # of what the gate compares


class RegisterOptions(Options):
    """The gate.

    A challenger must be better by more than `margin`, in the metric's own unit, with this (one-sided)
    `confidence`, and pass the guards. `metric` is `<extractor>/<figure>`.
    """

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    metric: str
    margin: NonNegative
    confidence: Level
    guards: GuardOptions

    @property
    def figure(self) -> GateFigure:
        """The metric without the extractor."""
        figure: GateFigure = self.metric.rpartition("/")[2]  # type: ignore[assignment]
        return figure

    @model_validator(mode="after")
    def _known_metric(self) -> Self:
        extractor, _, figure = self.metric.partition("/")
        if extractor not in EXTRACTORS or figure not in get_args(GateFigure):
            raise ValueError(
                f"metric: found {self.metric!r}, expected EXTRACTOR/FIGURE such as 'domain/fid', "
                f"with a figure of {', '.join(get_args(GateFigure))}"
            )
        return self


class TrackingOptions(Options):
    """Where runs are grouped in MLflow; `system_metrics`: whether CPU, memory and GPU are logged while one trains."""

    experiment: Annotated[str, Field(min_length=1)]
    system_metrics: bool


class FlowOptions(Options):
    """How the stages are driven; changes no result.

    `share_gpu` lets `extractor` and `train` start on a GPU that another one uses. `timeout_s` are the seconds that each
    stage of dvc.yaml may take. Of the worktrees that failed isolated runs leave, the newest `keep_failed_runs` are
    kept, for `keep_failed_days` at most.
    """

    retries: Annotated[int, Field(ge=0, strict=True)]
    retry_delay_s: Annotated[int, Field(ge=0, strict=True)]
    keep_failed_runs: Annotated[int, Field(ge=0, strict=True)]
    keep_failed_days: Annotated[int, Field(ge=0, strict=True)]
    share_gpu: Annotated[bool, Field(strict=True)]
    timeout_s: dict[str, PositiveInt]
