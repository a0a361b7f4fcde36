"""One translator into several styles, and a critic that tells them apart (StarGAN: Choi et al. 2018).

The style asked for stands beside the latents, which scale and shift the channels of every block.
"""

import torch
from torch import Tensor, nn

from ganlib.config import ImageSpec, StarganOptions
from ganlib.networks.base import Critic, Family, Generator
from ganlib.networks.blocks import full_precision
from ganlib.networks.unet import ModulatedBlock, PatchCritic, UnetGenerator
from ganlib.networks.ways import ManyWays


def stargan(options: StarganOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options."""
    assert num_classes == 0, "a translator is given an image, not a class"
    return Family(
        generator=lambda: StarGenerator(
            UnetGenerator(
                channels=image.channels,
                latent_dim=options.latent_dim + options.styles,
                width=options.generator_width,
                halvings=options.generator_halvings,
                residual=options.generator_residual,
            ),
            styles=options.styles,
        ),
        critic=lambda: StarCritic(
            PatchCritic(
                size=image.size, channels=image.channels, width=options.critic_width, halvings=options.critic_halvings
            ),
            styles=options.styles,
        ),
    )


class StarGenerator(ManyWays):
    """A U-Net that is told a style for each image.

    Args:
        unet: of latents of Z + `styles` numbers.
        styles: how many there are.
    """

    def __init__(self, unet: UnetGenerator, *, styles: int) -> None:
        super().__init__(latent_dim=unet.latent_dim - styles, num_ways=styles)
        self.unet = unet
        for block in unet.modules():
            if isinstance(block, ModulatedBlock):  # the style has to change much, where latents change little
                nn.init.normal_(block.modulation.weight[:, -styles:])

    def way(self, index: int) -> "OneStyle":
        """The translator into one style."""
        return OneStyle(self.unet, index, styles=self.num_ways)

    def styled(self, latents: Tensor, images: Tensor, styles: Tensor) -> Tensor:
        """Latents [N, Z], images [N, C, H, W], int64 styles [N] -> images [N, C, H, W]."""
        # functional.one_hot looks at the values, for which the host would wait.
        told = styles[:, None] == torch.arange(self.num_ways, device=styles.device)
        return self.unet(torch.cat([latents, told.to(latents.dtype)], dim=1), images)


class OneStyle(Generator):
    """A U-Net that is asked for one of its `styles`, always the same."""

    def __init__(self, unet: UnetGenerator, style: int, *, styles: int) -> None:
        super().__init__(latent_dim=unet.latent_dim - styles, num_classes=0)
        self.unet, self.style, self.styles = unet, style, styles

    def forward(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        """Latents [N, Z], images [N, C, H, W] -> images [N, C, H, W] in the style."""
        told = latents.new_zeros(len(latents), self.styles)
        told[:, self.style] = 1
        return self.unet(torch.cat([latents, told], dim=1), condition)


class StarCritic(Critic):
    """A critic of patches, of images alone, with a second head that tells an image's style."""

    def __init__(self, patches: PatchCritic, *, styles: int) -> None:
        super().__init__(num_classes=0, couples_samples=False, feature_dim=patches.feature_dim)
        self.patches = patches
        self.style = nn.Linear(patches.feature_dim, styles)

    def embed(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W] -> features [N, F]."""
        return self.patches.embed(images, None)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W] -> logits [N, patches]."""
        return self.patches(images, None)

    def styles(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] -> logits of their styles [N, K]."""
        features = self.embed(images, None)
        with full_precision(images):
            logits: Tensor = self.style(features)
            return logits

    def lower_layers(self) -> list[nn.Module]:
        """The convolutions of the maps."""
        return self.patches.lower_layers()
