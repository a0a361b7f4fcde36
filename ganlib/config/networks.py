"""The network families: one options class each, told apart by `family`."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from ganlib.config.base import BASE_SIZE, NonNegativeInt, Options, PositiveInt

COMPARED_IMAGES = 8  # StyleGAN's are 4 (Karras et al. 2019); 8 and 32 were measured
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
DropoutShare = Annotated[float, Field(ge=0, lt=1)]


class FamilyOptions(Options):
    """What every family has: whether it is given labels, and the length Z of its latents."""

    family: str
    conditional: StrictBool
    latent_dim: PositiveInt

    @property
    def couples_samples(self) -> bool:
        """Whether a logit depends on the other images of the batch (batch norm in the critic)."""
        return False

    @property
    def compared_images(self) -> int:
        """How many neighbours in a batch the critic compares with one another; 1: none."""
        return 1

    def check_size(self, size: int) -> None:
        """See that the family can make images of `size` pixels a side.

        Raises:
            ValueError: it cannot.
        """
        if size < 2 * BASE_SIZE or size & (size - 1):
            raise ValueError(
                f"data.image_size={size}: network.family={self.family} makes sizes that are a power "
                "of two, such as 32; change one of them"
            )


class MlpOptions(FamilyOptions):
    """Fully connected networks (Goodfellow et al. 2014, with batch norm in the generator).

    Widths are those of the hidden layers, in the order of the data's way.
    Labels enter as a learned vector of length `embedding_dim`, beside the
    latent and beside the pixels (Mirza & Osindero 2014).
    """

    family: Literal["mlp"]
    generator_widths: Widths
    critic_widths: Widths
    critic_dropout: DropoutShare
    embedding_dim: PositiveInt

    def check_size(self, size: int) -> None:
        """Any size will do: the pixels are a plain vector."""


class DcganOptions(FamilyOptions):
    """DCGAN; widths are the channels at full resolution, doubled per halving.

    `upsampling` is by transposed convolutions, or by repeating pixels before
    a convolution (`resize`). The generator's 4 x 4 layer has norm and
    activation like the others (`generator_stem: normed`) or neither
    (`linear`). With `generator_excitation` it also scales the channels at full
    resolution (Liu et al. 2021). The critic's norm is `spectral`, `batch` or `none`; it has 1
    or 2 convolutions a halving, and its last features are taken as they are
    or summed over all positions. With `critic_pretrained` further critics see
    the features of that frozen network (Sauer et al. 2021), and unless they
    are given labels, how much these differ between images. The last two
    switches say how the labels enter when `conditional` is true: through
    conditional batch norm (else beside the latent), through a projection
    (else as planes beside the image).
    """

    family: Literal["dcgan"]
    generator_width: PositiveInt
    generator_stem: Literal["normed", "linear"]
    generator_spectral_norm: StrictBool
    generator_excitation: StrictBool
    upsampling: Literal["transposed", "resize"]
    critic_width: PositiveInt
    critic_norm: Literal["spectral", "batch", "none"]
    critic_convolutions: Literal[1, 2]
    critic_pooling: Literal["none", "sum"]
    critic_dropout: DropoutShare
    critic_pretrained: Literal["efficientnet-lite0"] | None
    conditional_batch_norm: StrictBool
    projection: StrictBool

    @property
    def couples_samples(self) -> bool:
        """True for batch norm, and where images are compared."""
        return self.critic_norm == "batch" or self.compared_images > 1

    @property
    def compared_images(self) -> int:
        """Frozen features are compared where there are no labels."""
        return COMPARED_IMAGES if self.critic_pretrained is not None and not self.conditional else 1


class _ResidualOptions(FamilyOptions):
    """Widths of residual networks.

    `generator_widths` are the channels per resolution from 4 x 4 upwards,
    `critic_widths` those of the critic's blocks from the image inwards, of
    which the first `critic_halvings` halve the resolution.
    """

    generator_widths: Widths
    critic_widths: Widths
    critic_halvings: NonNegativeInt

    @model_validator(mode="after")
    def _blocks_halve(self) -> Self:
        if self.critic_halvings > len(self.critic_widths):
            raise ValueError(
                f"critic_halvings={self.critic_halvings} is more than the {len(self.critic_widths)} blocks of "
                "critic_widths; lower it or add widths"
            )
        return self

    def check_size(self, size: int) -> None:
        """One generator width a resolution; the critic does not halve below one pixel."""
        super().check_size(size)
        _check_widths("generator_widths", self.generator_widths, size)
        if size >> self.critic_halvings == 0:
            raise ValueError(
                f"network.critic_halvings={self.critic_halvings} leaves nothing of data.image_size={size}; lower it"
            )


class ResnetOptions(_ResidualOptions):
    """The residual networks of SNGAN (Miyato et al. 2018, tables 4 to 6).

    Labels enter through conditional batch norm in the generator and a
    projection in the critic (Miyato & Koyama 2018).
    """

    family: Literal["resnet"]
    upsampling: Literal["nearest", "bilinear"]
    critic_norm: Literal["spectral", "none"]


class BigganOptions(_ResidualOptions):
    """BigGAN (Brock et al. 2019): spectral norm in both networks, orthogonal initialisation, self-attention.

    The latent is cut into one chunk for the 4 x 4 layer and one for each
    further resolution, where it conditions the batch norms, together with a
    class vector of length `embedding_dim` that all blocks share. In the
    critic, labels enter through a projection. `attention_size` is the
    resolution after whose (first) block attention follows, in both networks;
    null: none.
    """

    family: Literal["biggan"]
    embedding_dim: PositiveInt
    attention_size: PositiveInt | None

    @model_validator(mode="after")
    def _chunks_divide(self) -> Self:
        chunks = len(self.generator_widths)
        if self.latent_dim % chunks:
            raise ValueError(
                f"latent_dim={self.latent_dim} must be divisible by the {chunks} resolutions of generator_widths, "
                f"one chunk each; {self.latent_dim + -self.latent_dim % chunks} is"
            )
        return self

    def check_size(self, size: int) -> None:
        """Attention follows a block in both networks."""
        super().check_size(size)
        made = {size >> i for i in range(len(self.generator_widths) - 1)}
        judged = {size >> min(i + 1, self.critic_halvings) for i in range(len(self.critic_widths))}
        if self.attention_size is not None and self.attention_size not in made & judged:
            choices = [str(each) for each in sorted(made & judged)] + ["null"]
            raise ValueError(
                f"network.attention_size={self.attention_size}: no block of both networks has this resolution at "
                f"data.image_size={size}; expected {' or '.join(choices)}"
            )


class R3ganOptions(FamilyOptions):
    """R3GAN (Huang et al. 2024): residual blocks without normalisation.

    `widths` are the channels per stage from 4 x 4 upwards; the grouped
    convolutions have `group_width` channels a group inside a bottleneck that
    is `expansion` times as wide. Labels enter as a learned vector of length
    `embedding_dim` beside the latent, and in the critic as an inner product.
    """

    family: Literal["r3gan"]
    widths: Widths
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
        _check_widths("widths", self.widths, size)


class UnetOptions(FamilyOptions):
    """A translator: a U-Net given an image and a latent, and a critic of patches (pix2pix: Isola et al. 2017).

    Widths are the channels at full resolution, doubled per halving. The output is added to the input where
    `generator_residual`, for inputs that are the image made worse; else it is the image itself.
    """

    family: Literal["unet"]
    conditional: Literal[False]
    generator_width: PositiveInt
    generator_halvings: PositiveInt
    generator_residual: StrictBool
    critic_width: PositiveInt
    critic_halvings: PositiveInt

    def check_size(self, size: int) -> None:
        """Sides that both networks can halve as often."""
        most = (size & -size).bit_length() - 1
        for name in ("generator_halvings", "critic_halvings"):
            if getattr(self, name) > most:
                raise ValueError(
                    f"network.{name}={getattr(self, name)}: data.image_size={size} can be halved {most} times; lower it"
                )


class CycleganOptions(UnetOptions):
    """Two translators, there and back, and a critic of patches for each (CycleGAN: Zhu et al. 2017)."""

    family: Literal["cyclegan"]  # type: ignore[assignment]


class StarganOptions(UnetOptions):
    """One translator into `styles` kinds, and a critic of patches that tells them (StarGAN: Choi et al. 2018)."""

    family: Literal["stargan"]  # type: ignore[assignment]
    styles: Annotated[int, Field(ge=2, strict=True)]


def _check_widths(name: str, widths: tuple[int, ...], size: int) -> None:
    expected = (size // BASE_SIZE).bit_length()
    if len(widths) != expected:
        raise ValueError(
            f"network.{name} has {len(widths)} entries, expected {expected}: "
            f"one per resolution from {BASE_SIZE} to data.image_size={size}"
        )


NetworkOptions = Annotated[
    MlpOptions
    | DcganOptions
    | ResnetOptions
    | BigganOptions
    | R3ganOptions
    | UnetOptions
    | CycleganOptions
    | StarganOptions,
    Field(discriminator="family"),
]
