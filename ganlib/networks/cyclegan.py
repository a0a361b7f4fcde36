"""Two translators, each the other's way back, with a critic each (Zhu et al. 2017).

Way 0 makes what is wanted of what is given, way 1 the reverse.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ganlib.config import CycleganOptions, ImageSpec
from ganlib.networks.base import Critic, Family, Generator
from ganlib.networks.unet import PatchCritic, UnetGenerator
from ganlib.networks.ways import ManyWays

WAYS = (0, 1)


def cyclegan(options: CycleganOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options."""
    assert num_classes == 0, "a translator is given an image, not a class"

    def generator() -> UnetGenerator:
        return UnetGenerator(
            channels=image.channels,
            latent_dim=options.latent_dim,
            width=options.generator_width,
            halvings=options.generator_halvings,
            residual=options.generator_residual,
        )

    def critic() -> PatchCritic:
        return PatchCritic(
            size=image.size, channels=image.channels, width=options.critic_width, halvings=options.critic_halvings
        )

    return Family(
        generator=lambda: CycleGenerator([generator() for _ in WAYS]),
        critic=lambda: CycleCritic([critic() for _ in WAYS]),
    )


class CycleGenerator(ManyWays):
    """Both translators.

    Args:
        ways: of the same latents.
    """

    def __init__(self, ways: Sequence[Generator]) -> None:
        super().__init__(latent_dim=ways[0].latent_dim, num_ways=len(ways))
        self.ways = nn.ModuleList(ways)

    def way(self, index: int) -> Generator:
        """One of them."""
        chosen = self.ways[index]
        assert isinstance(chosen, Generator)
        return chosen


class CycleCritic(Critic):
    """The critics of what both translators make, each of images alone; called, it is the first."""

    def __init__(self, ways: Sequence[Critic]) -> None:
        super().__init__(num_classes=0, couples_samples=False, feature_dim=ways[0].feature_dim)
        self.ways = nn.ModuleList(ways)

    def way(self, index: int) -> Critic:
        """One of them."""
        chosen = self.ways[index]
        assert isinstance(chosen, Critic)
        return chosen

    def embed(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W] -> features [N, F]."""
        return self.way(0).embed(images, condition)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W] -> logits [N, patches]."""
        return self.way(0)(images, condition)

    def lower_layers(self) -> list[nn.Module]:
        """The convolutions of the first."""
        return self.way(0).lower_layers()
