"""The network families: one options class each, told apart by `family`."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from ganlib.config.base import BASE_SIZE, Options, PositiveInt


class FamilyOptions(Options):
    """What every family has: whether it is given labels, and the length Z of its latents."""

    conditional: StrictBool
    latent_dim: PositiveInt

    @property
    def couples_samples(self) -> bool:
        """Whether a logit depends on the other images of the batch (batch norm in the critic)."""
        return False

    def check_size(self, size: int) -> None:
        """See that the family can make images of `size` pixels a side.

        Raises:
            ValueError: it cannot.
        """
        if size < 2 * BASE_SIZE or size & (size - 1):
            raise ValueError(
                f"data.image_size={size}: network.family={getattr(self, 'family', '?')} makes sizes that are a power "
                "of two, such as 32; change one of them"
            )


class DcganOptions(FamilyOptions):
    """DCGAN; widths are the channels at full resolution, doubled per halving.

    The critic's norm is `spectral`, `batch` or `none`. The last two switches
    say how the labels enter when `conditional` is true: through conditional
    batch norm (else beside the latent), through a projection (else as planes
    beside the image).
    """

    family: Literal["dcgan"]
    generator_width: PositiveInt
    critic_width: PositiveInt
    critic_norm: Literal["spectral", "batch", "none"]
    conditional_batch_norm: StrictBool
    projection: StrictBool

    @property
    def couples_samples(self) -> bool:
        """True for batch norm."""
        return self.critic_norm == "batch"


class R3ganOptions(FamilyOptions):
    """R3GAN (Huang et al. 2024): residual blocks without normalisation.

    `widths` are the channels per stage from 4 x 4 upwards; the grouped
    convolutions have `group_width` channels a group inside a bottleneck that
    is `expansion` times as wide.
    """

    family: Literal["r3gan"]
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

    def check_size(self, size: int) -> None:
        """One width a resolution, from 4 pixels upwards."""
        super().check_size(size)
        expected = int(math.log2(size // BASE_SIZE)) + 1
        if len(self.widths) != expected:
            raise ValueError(
                f"network.widths has {len(self.widths)} entries, expected {expected}: "
                f"one per resolution from {BASE_SIZE} to data.image_size={size}"
            )


NetworkOptions = Annotated[DcganOptions | R3ganOptions, Field(discriminator="family")]
