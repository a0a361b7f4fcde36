"""What a training optimises: a game of networks, or a bound on the likelihood."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ganlib.config.base import NonNegativeInt, Options, PositiveInt, ScheduledNonNegative, ever_positive

AdversarialLoss = Literal["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]
SMOOTHABLE = ("minimax", "non_saturating", "least_squares")


class PenaltyOptions(Options):
    """A gradient penalty on the critic.

    For R1 and R2 `weight` is gamma, which the penalty multiplies by a half.
    It is computed at every `every_steps`-th critic step and then counts
    `every_steps` times ("lazy": Karras et al. 2020, appendix B).
    """

    weight: ScheduledNonNegative
    every_steps: PositiveInt

    @property
    def active(self) -> bool:
        """Whether it ever counts."""
        return ever_positive(self.weight)


class GanOptions(Options):
    """A generative adversarial network (Goodfellow et al. 2014): adversarial loss and penalties.

    `label_smoothing` s moves the critic's target for real images from 1 to
    1 - s (one-sided: Salimans et al. 2016, section 3.4).
    """

    objective: Literal["gan"]
    adversarial: AdversarialLoss
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    r1: PenaltyOptions
    r2: PenaltyOptions
    gradient_penalty: PenaltyOptions

    @property
    def penalised(self) -> bool:
        """Whether any gradient penalty ever counts."""
        return self.r1.active or self.r2.active or self.gradient_penalty.active

    @property
    def needs_other_latents(self) -> bool:
        """Whether an image of a batch needs two latents."""
        return False

    @model_validator(mode="after")
    def _smoothing_has_a_target(self) -> Self:
        if self.label_smoothing > 0 and self.adversarial not in SMOOTHABLE:
            raise ValueError(
                f"label_smoothing={self.label_smoothing} has no meaning for adversarial={self.adversarial}, "
                f"which has no target labels; set it to 0 or choose one of {', '.join(SMOOTHABLE)}"
            )
        return self


class VaeOptions(Options):
    """A variational autoencoder (Kingma & Welling 2014): the generator decodes what an encoder makes of real images.

    The encoder has the layers of the family's critic. Posterior and prior are Gaussian, and so are the pixels about
    the generator's images, with the variance that the last iteration had (Rybkin et al. 2021). `beta` multiplies the
    divergence of the posterior from the prior (Higgins et al. 2017); a schedule that starts at 0 keeps the generator
    from ignoring its latents at the start (Bowman et al. 2016).
    """

    objective: Literal["vae"]
    beta: ScheduledNonNegative


class PairedOptions(GanOptions):
    """A translator (pix2pix: Isola et al. 2017): a game whose generator also has to meet the image that is wanted.

    `pixel_weight` multiplies the mean absolute difference of values in [-1, 1], `feature_weight` that of the critic's
    features (Wang et al. 2018, eq. 2). `diversity_weight` rewards that two latents give one input different results,
    by the mean absolute difference of these over that of the latents (Yang et al. 2019, eq. 4); without it, a
    translator tends to ignore its latents.
    """

    objective: Literal["paired"]  # type: ignore[assignment]
    pixel_weight: Annotated[float, Field(ge=0)]
    feature_weight: Annotated[float, Field(ge=0)]
    diversity_weight: Annotated[float, Field(ge=0)]

    @property
    def needs_other_latents(self) -> bool:
        """For two results of one input."""
        return self.diversity_weight > 0


class UnpairedOptions(GanOptions):
    """Two translators, each the other's way back, without pairs (CycleGAN: Zhu et al. 2017): a game of each way.

    `cycle_weight` multiplies the mean absolute difference, of values in [-1, 1], between an image and what comes back
    of it (eq. 2), `identity_weight` that between an image and what is made of it by the translator that makes its kind
    (section 5.2). Each critic judges generated images of which half are earlier ones, from a history of
    `history_images` (Shrivastava et al. 2017, section 2.3); 0: the newest alone.
    """

    objective: Literal["unpaired"]  # type: ignore[assignment]
    cycle_weight: Annotated[float, Field(ge=0)]
    identity_weight: Annotated[float, Field(ge=0)]
    history_images: NonNegativeInt

    @property
    def needs_other_latents(self) -> bool:
        """For the way back."""
        return True


class StylesOptions(GanOptions):
    """One translator into several styles, without pairs (StarGAN: Choi et al. 2018).

    `style_weight` multiplies the cross-entropy by which the critic learns the styles of real images, and the generator
    to make what is taken for the style asked for (eq. 2 and 3); `cycle_weight` the mean absolute difference, of values
    in [-1, 1], between an image and what comes back of it in its own style (eq. 4).
    """

    objective: Literal["styles"]  # type: ignore[assignment]
    style_weight: Annotated[float, Field(ge=0)]
    cycle_weight: Annotated[float, Field(ge=0)]

    @property
    def needs_other_latents(self) -> bool:
        """For the way back."""
        return True


LossOptions = Annotated[
    GanOptions | VaeOptions | PairedOptions | UnpairedOptions | StylesOptions, Field(discriminator="objective")
]
