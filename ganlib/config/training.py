"""The training: clock, batch, optimisers, precision, devices, and what is done when it goes wrong."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StrictBool, Tag, model_validator

from ganlib.config.base import (
    DeviceName,
    ExtractorName,
    NonNegativeInt,
    Options,
    PositiveInt,
    ScheduledBeta,
    ScheduledNonNegative,
    Seed,
    ever_positive,
)

DeviceCount = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[PositiveInt, Tag("count")],
    Discriminator(lambda value: "auto" if isinstance(value, str) else "count"),
]


class OptimizerOptions(Options):
    """Adam (Kingma & Ba 2015); `max_gradient_norm` clips the norm over all parameters, null does not."""

    learning_rate: ScheduledNonNegative
    beta1: ScheduledBeta
    beta2: ScheduledBeta
    epsilon: Annotated[float, Field(gt=0)]
    max_gradient_norm: Annotated[float, Field(gt=0)] | None

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not ever_positive(self.learning_rate):
            raise ValueError("learning_rate is 0 for ever; expected a number above 0")
        return self


AlarmName = Literal["non_finite", "exploding_gradients", "critic_won", "falling_diversity"]


class AlarmOptions(Options):
    """Limits past which a training is not healthy; null switches an alarm off.

    `exploding_gradients`: above this mean norm over a log interval, of either
    network. `critic_won`: when the critic's adversarial loss is less than this
    above its lower bound. `falling_diversity`: when the mean distance between
    fixed-seed samples is below this share of the highest so far. Figures that
    are not finite always raise `non_finite`. Those named in `divergence` are
    not only told but acted upon, as `train.on_divergence` says.
    """

    exploding_gradients: Annotated[float, Field(gt=0)] | None
    critic_won: Annotated[float, Field(gt=0)] | None
    falling_diversity: Annotated[float, Field(gt=0, lt=1)] | None
    divergence: tuple[AlarmName, ...]

    @model_validator(mode="after")
    def _never_ignored(self) -> Self:
        if "non_finite" not in self.divergence:
            raise ValueError("divergence must name non_finite: no training goes on from values that are not finite")
        return self


class InitialisationOptions(Options):
    """Start from a trained generator and its critic.

    `source` is a generator's folder or `models:/name@alias`; `sha256` its
    content address (or at least the first 8 digits), as an alias may move.
    The lowest `freeze_critic_layers` layers of the critic stay as they are
    (FreezeD: Mo et al. 2020).
    """

    source: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
    freeze_critic_layers: NonNegativeInt


class EncoderOptions(Options):
    """The encoder that is trained after the generator, on its samples, so that latents of images are found sooner.

    Attributes:
        total_images: samples that it is shown.
        batch_size: of them.
        learning_rate: of Adam at the start; it falls to 0 along a cosine.
        pixel_weight: of the mean squared difference between a sample and what the generator makes of its latents.
        feature_weight: of the relative squared difference of the critic's features of both.
    """

    total_images: PositiveInt
    batch_size: Annotated[int, Field(ge=2, strict=True)]
    learning_rate: Annotated[float, Field(gt=0)]
    pixel_weight: Annotated[float, Field(ge=0)]
    feature_weight: Annotated[float, Field(ge=0)]


class TrainOptions(Options):
    """The training; lengths and intervals are in images shown to the critic.

    `batch_size` is that of one critic step, over all devices and all
    `accumulation` parts that each device takes it in. `critic_steps` critic
    steps, each on its own batch, precede one generator step. With
    `reuse_fakes` that one takes the generated images of the last critic step
    instead of new ones, which saves a pass of the generator. `class_balanced`
    shows every class equally often, however many images it has; a generator
    that cannot be asked for a class then makes all equally often, and the
    figures of `evaluate`, which compare with the data's own shares, count that
    against it.
    """

    seed: Seed
    device: DeviceName
    devices: DeviceCount
    threads: PositiveInt
    memory_format: Literal["contiguous", "channels_last"]
    precision: Literal["fp32", "tf32", "bf16", "fp16"]
    compile: StrictBool
    cuda_graph: StrictBool
    deterministic: StrictBool
    init_from: InitialisationOptions | None
    total_images: PositiveInt
    batch_size: Annotated[int, Field(ge=2, strict=True)]
    class_balanced: StrictBool
    accumulation: PositiveInt
    critic_steps: PositiveInt
    reuse_fakes: StrictBool
    generator_optimizer: OptimizerOptions
    critic_optimizer: OptimizerOptions
    ema_half_life_images: PositiveInt
    ema_ramp: Annotated[float, Field(gt=0, le=1)]
    log_every_images: PositiveInt
    sample_every_images: PositiveInt
    checkpoint_every_images: PositiveInt
    keep_checkpoints: PositiveInt
    extractor: ExtractorName
    measure_every_images: PositiveInt
    measure_samples: Annotated[int, Field(ge=2, strict=True)]
    patience_images: PositiveInt | None
    alarms: AlarmOptions
    on_divergence: Literal["stop", "rollback"]
    max_rollbacks: PositiveInt
    rollback_rate_factor: Annotated[float, Field(gt=0, lt=1)]
    encoder: EncoderOptions | None

    @property
    def images_per_iteration(self) -> int:
        """By how much the clock advances between two generator steps."""
        return self.batch_size * self.critic_steps

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        devices = 1 if self.devices == "auto" else self.devices
        check_batch(self.batch_size, devices=devices, accumulation=self.accumulation)
        return self

    @model_validator(mode="after")
    def _device_can(self) -> Self:
        if self.device == "cpu" and self.precision in ("fp16", "tf32"):
            raise ValueError(
                f"precision={self.precision} needs a CUDA device, found device=cpu; set it to fp32 or bf16"
            )
        if self.device == "cpu" and self.cuda_graph:
            raise ValueError("cuda_graph=true needs a CUDA device, found device=cpu; set it to false")
        if ":" in self.device and self.devices != 1:
            raise ValueError(f"device={self.device} names one device, found devices={self.devices}; set device to cuda")
        return self


def check_batch(batch_size: int, *, devices: int, accumulation: int) -> None:
    """See that a batch falls into equal parts of two images at least, as batch norm needs them.

    Raises:
        ValueError: it does not.
    """
    images, left_over = divmod(batch_size, devices * accumulation)
    if left_over or images < 2:
        raise ValueError(
            f"batch_size={batch_size} does not divide into devices={devices} times accumulation={accumulation} "
            "equal parts of at least 2 images; change one of them"
        )
