"""Every number that changes a result: `params.yaml` as one frozen, validated object.

Nothing here has a default: DVC watches `params.yaml`, not Python. This module
imports no torch, so that checking the parameters is instant.
"""

import difflib
import math
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from ganlib.errors import UserError

# Whole numbers and switches are taken as written; `true` is no 1 and "64" no 64.
# Real numbers may be text: YAML 1.1 reads 1e-4 as such.
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]
ExtractorName = Literal["domain", "inception"]
AdversarialLoss = Literal["hinge", "non_saturating", "relativistic"]
BASE_SIZE = 4


class Options(BaseModel):
    """Base of all sections: unknown keys, NaN and later changes are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageSpec(Options):
    """What every network, reader and metric must agree on.

    `size` is the side in pixels, `channels` 1 or 3, `classes` the class names
    in label order (empty: unlabelled).
    """

    size: PositiveInt
    channels: Literal[1, 3]
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """How many classes; 0 when unlabelled."""
        return len(self.classes)


class DataOptions(Options):
    """Where the images are and what they are made into."""

    source: Annotated[str, Field(min_length=1)]
    image_size: Literal[16, 32, 64]
    channels: Literal[1, 3]
    resizer: Literal["box", "bilinear", "bicubic", "lanczos"]
    test_share: Annotated[float, Field(gt=0, lt=1)]
    shard_images: PositiveInt
    max_pixels: PositiveInt
    max_unreadable_share: Share


class ExtractorOptions(Options):
    """The classifier behind the `domain` features, and the Inception weights."""

    width: PositiveInt
    feature_dim: Annotated[int, Field(ge=2, strict=True)]
    total_images: PositiveInt
    batch_size: PositiveInt
    learning_rate: Annotated[float, Field(gt=0)]
    seed: Seed
    threads: PositiveInt
    inception_weights: str | None
    inception_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class DcganOptions(Options):
    """DCGAN; widths are the channels at full resolution, doubled per halving.

    The critic's norm is `spectral`, `batch` or `none`. The last two switches
    say how the labels enter when `conditional` is true: through conditional
    batch norm (else beside the latent), through a projection (else as planes
    beside the image).
    """

    family: Literal["dcgan"]
    conditional: StrictBool
    latent_dim: PositiveInt
    generator_width: PositiveInt
    critic_width: PositiveInt
    critic_norm: Literal["spectral", "batch", "none"]
    conditional_batch_norm: StrictBool
    projection: StrictBool


class R3ganOptions(Options):
    """R3GAN (Huang et al. 2024): residual blocks without normalisation.

    `widths` are the channels per stage from 4 x 4 upwards; the grouped
    convolutions have `group_width` channels a group inside a bottleneck that
    is `expansion` times as wide.
    """

    family: Literal["r3gan"]
    conditional: StrictBool
    latent_dim: PositiveInt
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    blocks_per_stage: PositiveInt
    group_width: PositiveInt
    expansion: PositiveInt
    embedding_dim: PositiveInt

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        for width in self.widths:
            if width * self.expansion % self.group_width:
                raise ValueError(
                    f"group_width={self.group_width} must divide width x expansion = {width * self.expansion}"
                )
        return self


NetworkOptions = Annotated[DcganOptions | R3ganOptions, Field(discriminator="family")]


class LossOptions(Options):
    """Adversarial loss and the weights of the zero-centred gradient penalties."""

    adversarial: AdversarialLoss
    r1_gamma: Annotated[float, Field(ge=0)]
    r2_gamma: Annotated[float, Field(ge=0)]


class TrainOptions(Options):
    """The training; lengths and intervals are in images shown to the critic."""

    seed: Seed
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    threads: PositiveInt
    memory_format: Literal["contiguous", "channels_last"]
    precision: Literal["fp32", "bf16"]
    deterministic: StrictBool
    total_images: PositiveInt
    batch_size: Annotated[int, Field(ge=2, strict=True)]
    generator_learning_rate: Annotated[float, Field(gt=0)]
    critic_learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate_share: Share
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    ema_half_life_images: PositiveInt
    ema_ramp: Annotated[float, Field(gt=0, le=1)]
    log_every_images: PositiveInt
    sample_every_images: PositiveInt
    checkpoint_every_images: PositiveInt
    keep_checkpoints: PositiveInt
    extractor: ExtractorName
    measure_every_images: PositiveInt
    measure_samples: Annotated[int, Field(ge=2, strict=True)]


class EvaluateOptions(Options):
    """The final measurement: `repeats` independent draws of `samples` images."""

    extractor: ExtractorName
    seed: Seed
    threads: PositiveInt
    batch_size: PositiveInt
    samples: Annotated[int, Field(ge=2, strict=True)]
    repeats: PositiveInt
    kid_subsets: PositiveInt
    kid_subset_size: Annotated[int, Field(ge=2, strict=True)]
    is_splits: PositiveInt
    neighbours: PositiveInt

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        needs = {
            "kid_subset_size": self.kid_subset_size,
            "is_splits": self.is_splits,
            "neighbours": self.neighbours + 1,
        }
        for name, least in needs.items():
            if self.samples < least:
                raise ValueError(f"samples={self.samples} is fewer than {name} needs ({least}); raise samples")
        return self


Metric = Literal[
    "domain/fid", "domain/kid", "domain/is", "domain/precision", "domain/recall", "domain/coverage",
    "domain/label_fidelity", "inception/fid", "inception/kid", "inception/is", "inception/precision",
    "inception/recall", "inception/coverage",
]  # fmt: skip


class RegisterOptions(Options):
    """The gate: the metric, and by how much (in its own unit) it must be better."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    metric: Metric
    margin: Annotated[float, Field(ge=0)]


class TrackingOptions(Options):
    """Where runs are grouped in MLflow."""

    experiment: Annotated[str, Field(min_length=1)]


class FlowOptions(Options):
    """How Prefect drives the stages; changes no result.

    `timeout_s` are the seconds that each stage of dvc.yaml may take.
    """

    retries: Annotated[int, Field(ge=0, strict=True)]
    retry_delay_s: Annotated[int, Field(ge=0, strict=True)]
    timeout_s: dict[str, PositiveInt]


class RunConfig(Options):
    """One run, whole."""

    data: DataOptions
    extractor: ExtractorOptions
    network: NetworkOptions
    loss: LossOptions
    train: TrainOptions
    evaluate: EvaluateOptions
    register_: Annotated[RegisterOptions, Field(alias="register")]
    tracking: TrackingOptions
    flow: FlowOptions

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if isinstance(self.network, R3ganOptions):
            expected = int(math.log2(self.data.image_size // BASE_SIZE)) + 1
            if len(self.network.widths) != expected:
                raise ValueError(
                    f"network.widths has {len(self.network.widths)} entries, expected {expected}: "
                    f"one per resolution from {BASE_SIZE} to data.image_size={self.data.image_size}"
                )
        elif self.network.critic_norm == "batch" and (self.loss.r1_gamma > 0 or self.loss.r2_gamma > 0):
            raise ValueError(
                "loss.r1_gamma and loss.r2_gamma need a critic whose samples are independent: "
                "set network.critic_norm to spectral or none, or both weights to 0"
            )
        if not self.register_.metric.startswith(f"{self.evaluate.extractor}/"):
            raise ValueError(
                f"register.metric={self.register_.metric} is not measured with "
                f"evaluate.extractor={self.evaluate.extractor}; choose a metric of that extractor"
            )
        if self.register_.metric == "domain/label_fidelity" and not self.network.conditional:
            raise ValueError(
                "register.metric=domain/label_fidelity needs network.conditional=true; choose another metric"
            )
        return self


def load_config(path: Path) -> RunConfig:
    """Read and validate a parameters file.

    Raises:
        UserError: one line per mistake, naming file, parameter, what was found and expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's folder or restore it from presets/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a YAML file in UTF-8") from None
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: found {type(values).__name__}, expected sections such as data, network and train")
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in _describe(error))) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key written twice instead of keeping the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key} is written twice (line {node.start_mark.line + 1}); keep one")
        return super().construct_mapping(node, deep)


def _describe(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        location = [part for part in item["loc"] if part not in {"dcgan", "r3gan"}]
        name = ".".join(str(part) for part in location)
        match item["type"]:
            case "extra_forbidden":
                yield f"{name}: unknown parameter{_nearest(item['loc'])}"
            case "missing":
                yield f"{name}: missing; add it (presets/digits.yaml shows every parameter)"
            case "union_tag_invalid" | "union_tag_not_found":
                families = ", ".join(sorted(_families()))
                yield f"{name}.family: found {_shown(item['input'], 'family')}, expected one of {families}"
            case "value_error":
                yield (f"{name}: " if name else "") + item["msg"].removeprefix("Value error, ")
            case _:
                yield f"{name}: found {item['input']!r}; {_sentence(item['msg'])}"


def _shown(value: object, key: str) -> str:
    return repr(value.get(key, "nothing")) if isinstance(value, dict) else repr(value)


def _sentence(message: str) -> str:
    return message.removeprefix("Input ").replace("should be", "expected", 1)


def _families() -> dict[str, type[Options]]:
    union = get_args(NetworkOptions)[0]
    return {get_args(kind.model_fields["family"].annotation)[0]: kind for kind in get_args(union)}


def _nearest(location: tuple[int | str, ...]) -> str:
    """'; did you mean …' from the names that the section really has."""
    model: Any = RunConfig
    for part in location[:-1]:
        if part == "network" and len(location) > 2:
            model = _families()[str(location[1])]
            break
        field = next(f for n, f in model.model_fields.items() if part in (n, f.alias))
        model = field.annotation
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; expected one of {', '.join(known)}"
