"""What all sections share: strictness, ranges, schedules, and the shape of an image."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

# Whole numbers and switches are taken as written; `true` is no 1 and "64" no 64.
# Real numbers may be text: YAML 1.1 reads 1e-4 as such.
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]
Probability = Share
# Whose weights are brought, downloaded or come with a package; `inception` is torch-fidelity's `inception-v3-compat`.
PretrainedName = Literal[
    "inception", "vgg16", "clip-rn50", "clip-rn101", "clip-rn50x4", "clip-rn50x16", "clip-rn50x64", "clip-vit-b-32",
    "clip-vit-b-16", "clip-vit-l-14", "clip-vit-l-14-336px", "dinov2-vit-s-14", "dinov2-vit-b-14", "dinov2-vit-l-14",
    "dinov2-vit-g-14", "efficientnet-lite0",
]  # fmt: skip
ExtractorName = Literal["domain", "random", "random-96", PretrainedName]
PRETRAINED: tuple[str, ...] = get_args(PretrainedName)
EXTRACTORS: tuple[str, ...] = ("domain", "random", "random-96", *PRETRAINED)
DeviceName = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
BASE_SIZE = 4


class Options(BaseModel):
    """Base of all sections: unknown keys, NaN and later changes are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# Pillow's names of images by their number of channels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class ImageSpec(Options):
    """What every network, reader and metric must agree on.

    `size` is the side in pixels, `channels` 1 (grey), 3 (RGB) or 4 (RGBA),
    `classes` the class names in label order (empty: unlabelled).
    """

    size: PositiveInt
    channels: Literal[1, 3, 4]
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """How many classes; 0 when unlabelled."""
        return len(self.classes)


class Schedule(Options):
    """A figure as a function of the images shown.

    It goes from `start` to `end` over `over_images`, null being the whole run
    (`train.total_images`), and stays there. During the first `warmup_images`
    it is further scaled by a factor that rises linearly from 0 to 1.
    """

    shape: Literal["linear", "cosine"]
    start: float
    end: float
    over_images: PositiveInt | None
    warmup_images: NonNegativeInt

    @property
    def follows_run(self) -> bool:
        """Whether its values depend on the length of the run."""
        return self.over_images is None and self.start != self.end


def _kind(value: object) -> str:
    return "schedule" if isinstance(value, dict | Schedule) else "number"


# A plain number is a constant.
Scheduled = Annotated[
    Annotated[float, Tag("number")] | Annotated[Schedule, Tag("schedule")],
    Discriminator(_kind),
]


def _within(least: float, below: float) -> Callable[[Any], Any]:
    def check(value: float | Schedule) -> float | Schedule:
        for each in extremes(value):
            if not least <= each < below:
                limit = "" if below == math.inf else f" and at most {below:g}" if below > 1 else f" and below {below:g}"
                raise ValueError(f"found {each}, expected a number of at least {least:g}{limit}")
        return value

    return check


def extremes(value: float | Schedule) -> tuple[float, ...]:
    """The end points of a scheduled figure."""
    return (value.start, value.end) if isinstance(value, Schedule) else (value,)


def ever_positive(value: float | Schedule) -> bool:
    """Whether a scheduled figure of at least 0 is above 0 at some time."""
    return any(each > 0 for each in extremes(value))


ScheduledNonNegative = Annotated[Scheduled, AfterValidator(_within(0, math.inf))]
ScheduledProbability = Annotated[Scheduled, AfterValidator(_within(0, math.nextafter(1, 2)))]
ScheduledBeta = Annotated[Scheduled, AfterValidator(_within(0, 1))]
