"""What a variational autoencoder learns from: the evidence lower bound (Kingma & Welling 2014, eq. 3)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.training.inputs import Inputs
from ganlib.training.precision import autocast
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState

# Of a value that is anywhere within its grey level, on the scale from -1 to 1.
LEVEL_VARIANCE = (2 / 255) ** 2 / 12


class VaeTerms(NamedTuple):
    """Means over the images, [] each.

    The log-likelihood and the divergence are in nats for each value of a pixel, the squared error is that of the
    generator's images in [-1, 1].
    """

    log_likelihood: Tensor
    divergence: Tensor
    squared_error: Tensor


@dataclass(frozen=True)
class VaeObjective:
    """The terms of the bound for a state's networks, on one part of a batch."""

    state: TrainState
    recipe: Recipe

    def terms(self, inputs: Inputs) -> VaeTerms:
        """Encode the real images, decode a draw from their posterior, compare."""
        real, noise = inputs.real, inputs.latents
        with autocast(self.recipe.options, real.images.device):
            mean, log_variance = self.state.encoder(real.images)
            images = self.state.generator(mean + (log_variance / 2).exp() * noise, real.condition)
        squared_error = (images - real.images).square().mean()
        variance = self.state.encoder.pixel_variance
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
        return VaeTerms(
            log_likelihood=-(squared_error / variance + variance.log() + math.log(2 * math.pi)) / 2,
            divergence=divergence / real.images[0].numel(),
            squared_error=squared_error,
        )

    @torch.no_grad()
    def renew_variance(self, squared_error: Tensor) -> None:
        """Take the variance of the pixels, for the next iteration, from the mean squared error [] of this one.

        It is the one that makes the likelihood greatest (Rybkin et al. 2021, section 4.2); the next iteration's, so
        that neither the parts of a batch nor the devices that share it change anything.
        """
        self.state.encoder.pixel_variance.copy_(squared_error + LEVEL_VARIANCE)
