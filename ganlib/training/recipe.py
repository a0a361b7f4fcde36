"""What a training is given and what stays as it is while it runs."""

from dataclasses import dataclass

from ganlib.augmentation import Augment, build_augment
from ganlib.config import (
    AugmentationOptions,
    ImageSpec,
    InputsOptions,
    LossOptions,
    NetworkOptions,
    RunConfig,
    TrainOptions,
)


@dataclass(frozen=True)
class Recipe:
    """Objective, augmentation, options and images of one training."""

    loss: LossOptions
    augmentation: AugmentationOptions
    augment: Augment | None
    options: TrainOptions
    image: ImageSpec
    network: NetworkOptions
    inputs: InputsOptions | None

    @classmethod
    def of(cls, config: RunConfig, image: ImageSpec) -> "Recipe":
        """The recipe that a configuration describes, for images of this kind."""
        return cls(
            loss=config.loss,
            augmentation=config.augmentation,
            augment=build_augment(config.augmentation.critic, image),
            options=config.train,
            image=image,
            network=config.network,
            inputs=config.data.inputs,
        )
