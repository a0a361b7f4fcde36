"""Images back to latents: the critic's layers below two linear outputs, whatever the family."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.networks.base import Critic
from ganlib.networks.blocks import full_precision


class Encoder(nn.Module):
    """Images to a Gaussian over latents, with independent coordinates (Kingma & Welling 2014, appendix C.2).

    It is given no labels: what they say can be seen in the image. `pixel_variance` [] is that of the values of
    pixels in [-1, 1] about what the generator makes of such latents, as far as it has been measured.

    Args:
        trunk: an unconditional critic, whose logits are not made.
        latent_dim: Z.
    """

    def __init__(self, trunk: Critic, *, latent_dim: int) -> None:
        assert trunk.num_classes == 0, "an encoder reads images without labels"
        super().__init__()
        self.latent_dim = latent_dim
        self.trunk = trunk
        self.trunk.head = nn.Identity()  # its weights would only be kept
        self.pixel_variance: Tensor
        self.register_buffer("pixel_variance", torch.ones(()))
        self.mean = nn.Linear(trunk.feature_dim, latent_dim)
        self.log_variance = nn.Linear(trunk.feature_dim, latent_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W] to the mean and the logarithm of the variance of their latents, [N, Z] each.

        Both have the dtype of the images, under autocast too.
        """
        features = self.trunk.embed(images, None)
        with full_precision(images):
            # Some critics sum their features over all positions: at that size the variances would overflow.
            normed = F.layer_norm(features, features.shape[1:])
            return self.mean(normed), self.log_variance(normed)

    if TYPE_CHECKING:  # nn.Module's own __call__ is untyped

        def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]: ...  # noqa: D102
