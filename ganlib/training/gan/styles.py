"""What one translator into several styles learns without pairs (Choi et al. 2018).

In a batch, images of all styles take turns, and so each image's place tells its own style. Each is translated into
another one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ganlib.config import StylesOptions
from ganlib.networks import StarCritic, StarGenerator
from ganlib.training.gan.objective import CriticTerms, GanObjective
from ganlib.training.gan.penalties import Penalties
from ganlib.training.inputs import Inputs
from ganlib.training.precision import autocast
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState


@dataclass(frozen=True)
class StylesObjective:
    """The losses of the translator and its critic, on one part of a batch; see `GanObjective`."""

    state: TrainState
    recipe: Recipe

    def generate(self, inputs: Inputs) -> Tensor:
        """Images [N, C, H, W], each in the style that is asked for."""
        assert inputs.targets is not None
        return self._made(inputs.real.images, inputs.latents, inputs.targets)

    def critic(self, inputs: Inputs, fake: Tensor, penalties: Penalties) -> CriticTerms:
        """The game, and the cross-entropy of the styles of real images; `fake` [N, C, H, W] gets no gradients."""
        terms = GanObjective(self.state, self.recipe).critic(inputs, fake, penalties)
        told = self._style_loss(inputs.real.images, self._own(inputs))
        return terms._replace(adversarial=terms.adversarial + self._loss.style_weight * told)

    def generator(self, inputs: Inputs, fake: Tensor) -> tuple[Tensor, ...]:
        """The loss [] on what was made, `fake` [N, C, H, W], and of it STYLE_FIGURES, [] each, without gradients."""
        assert inputs.targets is not None
        assert inputs.other_latents is not None
        (played,) = GanObjective(self.state, self.recipe).generator(inputs, fake)
        style = self._style_loss(fake, inputs.targets)
        back = self._made(fake, inputs.other_latents, self._own(inputs))
        cycle = (back - inputs.real.images).abs().mean()
        whole = played + self._loss.style_weight * style + self._loss.cycle_weight * cycle
        return whole, cycle.detach(), style.detach()

    @property
    def _loss(self) -> StylesOptions:
        assert isinstance(self.recipe.loss, StylesOptions)
        return self.recipe.loss

    def _made(self, images: Tensor, latents: Tensor, styles: Tensor) -> Tensor:
        generator = self.state.generator
        assert isinstance(generator, StarGenerator)
        with autocast(self.recipe.options, images.device):
            return generator.styled(latents, images, styles)

    def _style_loss(self, images: Tensor, styles: Tensor) -> Tensor:
        """Of the critic's word on styles, []."""
        critic = self.state.critic
        assert isinstance(critic, StarCritic)
        with autocast(self.recipe.options, images.device):
            logits = critic.styles(images)
        return F.cross_entropy(logits.float(), styles)

    def _own(self, inputs: Inputs) -> Tensor:
        """The styles of the images, int64 [N]."""
        generator, images = self.state.generator, inputs.real.images
        assert isinstance(generator, StarGenerator)
        return torch.arange(len(images), device=images.device) % generator.num_ways
