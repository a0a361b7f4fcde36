"""Every number that changes a result: `params.yaml` as one frozen, validated object.

Nothing here has a default: DVC watches `params.yaml`, not Python. This package
imports no torch, so that checking the parameters is instant. One section a file.
"""

from ganlib.config.augmentation import (
    AdaOptions,
    AdaptiveControl,
    AugmentationOptions,
    CriticAugmentation,
    DiffAugmentOptions,
    NoAugmentationOptions,
    ScheduledControl,
)
from ganlib.config.base import (
    BASE_SIZE,
    EXTRACTORS,
    PRETRAINED,
    ExtractorName,
    ImageSpec,
    NonNegativeInt,
    Options,
    PositiveInt,
    PretrainedName,
    Schedule,
    Scheduled,
    ever_positive,
)
from ganlib.config.data import (
    KINDS,
    Action,
    CleaningOptions,
    DataOptions,
    LimitOptions,
    Policy,
    PreprocessOptions,
)
from ganlib.config.losses import AdversarialLoss, LossOptions, PenaltyOptions
from ganlib.config.networks import (
    BigganOptions,
    DcganOptions,
    FamilyOptions,
    MlpOptions,
    NetworkOptions,
    R3ganOptions,
    ResnetOptions,
)
from ganlib.config.reading import load_config
from ganlib.config.records import read_record
from ganlib.config.run import RunConfig
from ganlib.config.stages import (
    FID_IMAGES_PER_FEATURE,
    EvaluateOptions,
    ExtractorOptions,
    FlowOptions,
    GateFigure,
    GuardOptions,
    LatentOptions,
    RegisterOptions,
    TrackingOptions,
)
from ganlib.config.training import AlarmOptions, InitialisationOptions, OptimizerOptions, TrainOptions, check_batch

__all__ = [
    "BASE_SIZE",
    "EXTRACTORS",
    "FID_IMAGES_PER_FEATURE",
    "KINDS",
    "PRETRAINED",
    "Action",
    "AdaOptions",
    "AdaptiveControl",
    "AdversarialLoss",
    "AlarmOptions",
    "AugmentationOptions",
    "BigganOptions",
    "CleaningOptions",
    "CriticAugmentation",
    "DataOptions",
    "DcganOptions",
    "DiffAugmentOptions",
    "EvaluateOptions",
    "ExtractorName",
    "ExtractorOptions",
    "FamilyOptions",
    "FlowOptions",
    "GateFigure",
    "GuardOptions",
    "ImageSpec",
    "InitialisationOptions",
    "LatentOptions",
    "LimitOptions",
    "LossOptions",
    "MlpOptions",
    "NetworkOptions",
    "NoAugmentationOptions",
    "NonNegativeInt",
    "OptimizerOptions",
    "Options",
    "PenaltyOptions",
    "Policy",
    "PositiveInt",
    "PreprocessOptions",
    "PretrainedName",
    "R3ganOptions",
    "RegisterOptions",
    "ResnetOptions",
    "RunConfig",
    "Schedule",
    "Scheduled",
    "ScheduledControl",
    "TrackingOptions",
    "TrainOptions",
    "check_batch",
    "ever_positive",
    "load_config",
    "read_record",
]
