"""A translator and its critic: a U-Net that takes an image and a latent, and a critic of patches (Isola et al. 2017).

Neither has norms over the image or the batch, so an image may be translated in tiles: what a place becomes depends
on its surroundings alone.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.config import ImageSpec, UnetOptions
from ganlib.networks.base import Critic, Family, Generator
from ganlib.networks.blocks import full_precision, leaky_relu
from ganlib.networks.convolution import Conv2d, DoublingConv2d
from ganlib.networks.spectral import spectral_norm


def unet(options: UnetOptions, image: ImageSpec, num_classes: int) -> Family:
    """The networks with these options."""
    assert num_classes == 0, "a translator is given an image, not a class"
    return Family(
        generator=lambda: UnetGenerator(
            channels=image.channels,
            latent_dim=options.latent_dim,
            width=options.generator_width,
            halvings=options.generator_halvings,
            residual=options.generator_residual,
        ),
        critic=lambda: PatchCritic(
            size=image.size, channels=2 * image.channels, width=options.critic_width, halvings=options.critic_halvings
        ),
    )


class ModulatedBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity; between them the latent scales and shifts each channel.

    So modulated as in FiLM (Perez et al. 2018); at the start the latent changes little.
    """

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.first = Conv2d(width, width, 3, padding=1)
        self.second = Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(latent_dim, 2 * width)
        nn.init.normal_(self.modulation.weight, std=0.1 * latent_dim**-0.5)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        """[N, C, H, W], [N, Z] -> [N, C, H, W]."""
        hidden = self.first(F.leaky_relu(features, 0.2))
        gain, bias = self.modulation(latents).to(hidden.dtype)[:, :, None, None].chunk(2, dim=1)
        outputs: Tensor = features + self.second(F.leaky_relu(torch.addcmul(bias, hidden, 1 + gain), 0.2))
        return outputs


class UnetGenerator(Generator):
    """Down by strided convolutions, up by repeated pixels, each level beside what it had on the way down.

    Args:
        channels: of the images, in and out.
        latent_dim: Z.
        width: channels at full resolution, doubled per halving.
        halvings: how often the resolution is halved; images' sides are multiples of 2 to this power (`multiple`).
        residual: the output is what is added to the input; else it is the image, by tanh.

    A pixel of the output depends on the input within `reach_px` at most.
    """

    def __init__(self, *, channels: int, latent_dim: int, width: int, halvings: int, residual: bool) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=0)
        self.multiple = 2**halvings
        # Two convolutions a block on the way down; to halve, to double, and two more on the way up; stem and output.
        self.reach_px = 2 * (2 * self.multiple - 1) + 6 * (self.multiple - 1) + 2
        self.residual = residual
        widths = [width << level for level in range(halvings + 1)]
        self.stem = Conv2d(channels, width, 3, padding=1)
        self.on_the_way_down = nn.ModuleList(ModulatedBlock(each, latent_dim) for each in widths)
        self.down = nn.ModuleList(Conv2d(one, two, 4, stride=2, padding=1) for one, two in pairwise(widths))
        self.up = nn.ModuleList(DoublingConv2d(two, one) for one, two in pairwise(widths))
        self.join = nn.ModuleList(Conv2d(2 * each, each, 1) for each in widths[:-1])
        self.on_the_way_up = nn.ModuleList(ModulatedBlock(each, latent_dim) for each in widths[:-1])
        self.output = Conv2d(width, channels, 3, padding=1)
        if residual:  # at the start, the image as it came
            nn.init.zeros_(self.output.weight)
            assert self.output.bias is not None
            nn.init.zeros_(self.output.bias)

    def forward(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        """Latents [N, Z], images [N, C, H, W] -> images [N, C, H, W], nominally in [-1, 1]."""
        assert condition is not None, "a translator needs images"
        features, kept = self.stem(condition), []
        for block, down in zip(self.on_the_way_down, [*self.down, None], strict=True):
            features = block(features, latents)
            if down is not None:
                kept.append(features)
                features = down(features)
        levels = reversed(list(zip(self.up, self.join, self.on_the_way_up, kept, strict=True)))
        for up, join, block, beside in levels:
            features = block(join(torch.cat([up(features), beside], dim=1)), latents)
        made: Tensor = self.output(F.leaky_relu(features, 0.2)).to(condition.dtype)
        return condition + made if self.residual else torch.tanh(made)


class PatchCritic(Critic):
    """Logits of patches of an image, alone or beside the one that it was made from; spectral norm on every layer.

    Args:
        size: side of the training images in pixels.
        channels: of what is judged, which is one image or two.
        width: channels of the first layer, doubled per halving.
        halvings: how often the resolution is halved; with it, patches overlap less and see more.
    """

    def __init__(self, *, size: int, channels: int, width: int, halvings: int) -> None:
        widths = [width << level for level in range(halvings + 1)]
        side = size >> halvings
        super().__init__(num_classes=0, couples_samples=False, feature_dim=widths[-1] * side**2)
        layers: list[nn.Module] = [spectral_norm(Conv2d(channels, width, 3, padding=1)), leaky_relu()]
        for one, two in pairwise(widths):
            layers += [spectral_norm(Conv2d(one, two, 4, stride=2, padding=1)), leaky_relu()]
        self.layers = nn.Sequential(*layers)
        self.head = spectral_norm(Conv2d(widths[-1], 1, 3, padding=1))

    def embed(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W], and those they were made from or None -> features [N, F]."""
        return self._maps(images, condition).flatten(1)

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W], and those they were made from or None -> logits [N, patches]."""
        maps = self._maps(images, condition)
        with full_precision(images):
            logits: Tensor = self.head(maps)
            return logits.flatten(1)

    def _maps(self, images: Tensor, condition: Tensor | None) -> Tensor:
        seen = images if condition is None else torch.cat([images, condition.to(images.dtype)], dim=1)
        maps: Tensor = self.layers(seen)
        return maps.to(images.dtype)

    def lower_layers(self) -> list[nn.Module]:
        """The convolutions of the maps."""
        return [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]
