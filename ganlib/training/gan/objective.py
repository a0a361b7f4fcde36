"""What the networks learn from, as the papers write it: the critic's loss with its penalties, the generator's loss."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganlib.config import GanOptions, PairedOptions
from ganlib.losses import (
    critic_loss,
    generator_loss,
    generator_needs_real_logits,
    interpolate,
    one_centered_penalty,
    zero_centered_penalty,
)
from ganlib.networks.base import Critic, of_each_image
from ganlib.networks.convolution import without_weight_gradients
from ganlib.training.gan.penalties import Penalties
from ganlib.training.inputs import Inputs
from ganlib.training.precision import autocast
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState


class CriticTerms(NamedTuple):
    """What the critic minimises the sum of, both [], and what it said of real and of generated images, [N, …]."""

    adversarial: Tensor
    penalty: Tensor
    real_logits: Tensor
    fake_logits: Tensor


def loss_of(recipe: Recipe) -> GanOptions:
    """The loss of a game."""
    assert isinstance(recipe.loss, GanOptions)
    return recipe.loss


@dataclass(frozen=True)
class GanObjective:
    """The losses of a generator and its critic, on one part of a batch.

    `one_of_several` is the critic of this game where the state has several; None: the state's.

    Forward passes run under autocast, every differentiation outside of it: inside, what the
    networks compute in full precision would be differentiated in half precision.
    """

    state: TrainState
    recipe: Recipe
    one_of_several: Critic | None = None

    @property
    def _critic(self) -> Critic:
        return self.state.critic if self.one_of_several is None else self.one_of_several

    def generate(self, inputs: Inputs) -> Tensor:
        """Images [N, C, H, W] of the latents."""
        with autocast(self.recipe.options, inputs.latents.device):
            return self.state.generator(inputs.latents, inputs.real.condition)

    def critic(self, inputs: Inputs, fake: Tensor, penalties: Penalties) -> CriticTerms:
        """The critic's loss on the real images and on generated ones [N, C, H, W], which get no gradients."""
        loss, due = loss_of(self.recipe), penalties.due
        penalty = torch.zeros((), device=fake.device)
        if due.r1 or due.r2 or not self._critic.can_share_a_pass(len(fake)):
            # Batch statistics would mix both kinds; and a pass that is differentiated twice is the quicker the smaller.
            real, condition = inputs.real.images, inputs.real.condition
            real_images, real_logits = self._judge(real, condition, inputs.real_draws, penalised=due.r1)
            fake_images, fake_logits = self._judge(fake, condition, inputs.fake_draws, penalised=due.r2)
            if due.r1:
                penalty = penalty + penalties.r1 * self._zero_centered(real_logits, real_images)
            if due.r2:
                penalty = penalty + penalties.r2 * self._zero_centered(fake_logits, fake_images)
        else:
            real_logits, fake_logits = self._judge_in_one_pass(inputs, fake)
        if due.gradient_penalty:
            penalty = penalty + penalties.gradient_penalty * self._one_centered(inputs, fake)
        each = critic_loss(loss.adversarial, real_logits, fake_logits, label_smoothing=loss.label_smoothing)
        return CriticTerms(each.mean(), penalty, real_logits, fake_logits)

    def generator(self, inputs: Inputs, fake: Tensor) -> tuple[Tensor, ...]:
        """The generator's loss [] on its images [N, C, H, W], alone."""
        real, name = inputs.real, loss_of(self.recipe).adversarial
        real_logits = None
        if generator_needs_real_logits(name):
            with torch.no_grad():
                _, real_logits = self._judge(real.images, real.condition, inputs.real_draws)
        _, fake_logits = self._judge(fake, real.condition, inputs.fake_draws)
        loss = generator_loss(name, real_logits, fake_logits).mean()
        return (loss + self._apart(loss_of(self.recipe), inputs, fake),)

    def _apart(self, loss: GanOptions, inputs: Inputs, fake: Tensor) -> Tensor | float:
        """How far a translation is from what is wanted, []; 0 where nothing is."""
        if not isinstance(loss, PairedOptions):
            return 0.0
        real, apart = inputs.real, loss.pixel_weight * (fake - inputs.real.images).abs().mean()
        if loss.feature_weight:
            with autocast(self.recipe.options, fake.device):
                with torch.no_grad():
                    wanted = self._critic.embed(real.images, real.condition)
                features = self._critic.embed(fake, real.condition)
            apart = apart + loss.feature_weight * (features - wanted).abs().mean()
        if loss.diversity_weight:
            apart = apart - loss.diversity_weight * self._diversity(inputs, fake)
        return apart

    def _diversity(self, inputs: Inputs, fake: Tensor) -> Tensor:
        """By how much the result changes for each unit that the latents do, []."""
        assert inputs.other_latents is not None
        with autocast(self.recipe.options, fake.device):
            other = self.state.generator(inputs.other_latents, inputs.real.condition)
        changed = (fake - other).abs().flatten(1).mean(dim=1)
        return (changed / (inputs.latents - inputs.other_latents).abs().mean(dim=1)).mean()

    def _judge_in_one_pass(self, inputs: Inputs, fake: Tensor) -> tuple[Tensor, ...]:
        """The logits [N, …] of real images and of generated ones [N, C, H, W]."""
        real = inputs.real
        images = torch.cat([real.images, fake])
        condition = None if real.condition is None else torch.cat([real.condition, real.condition])
        _, logits = self._judge(images, condition, inputs.draws_of_both)
        return logits.chunk(2)

    def _judge(
        self, images: Tensor, condition: Tensor | None, draws: Tensor | None, *, penalised: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The images, by which logits can be differentiated where they are `penalised`, and their logits [N, …]."""
        if penalised:
            images = images.detach().requires_grad_()
        with autocast(self.recipe.options, images.device):
            seen = images
            if self.recipe.augment is not None:
                assert draws is not None
                seen = self.recipe.augment(images, draws, self.state.augmentation.probability)
            # A compiled critic cannot be differentiated twice; `forward` is never compiled.
            critic = self._critic.forward if penalised else self._critic
            return images, critic(seen, condition)

    def _zero_centered(self, logits: Tensor, images: Tensor) -> Tensor:
        with without_weight_gradients():
            return zero_centered_penalty(of_each_image(logits), images, loss_scale=self._loss_scale()).mean()

    def _one_centered(self, inputs: Inputs, fake: Tensor) -> Tensor:
        """The WGAN gradient penalty [] on images between real and generated ones."""
        assert inputs.mixing is not None
        between = interpolate(inputs.real.images, fake, inputs.mixing)
        images, logits = self._judge(between, inputs.real.condition, inputs.real_draws, penalised=True)
        with without_weight_gradients():
            return one_centered_penalty(of_each_image(logits), images, loss_scale=self._loss_scale()).mean()

    def _loss_scale(self) -> Tensor | float:
        """What fp16 gradients are multiplied by, read without waiting for the device."""
        scaler = self.state.partner_learner.scaler
        if not scaler.is_enabled():
            return 1.0
        scale: Tensor = scaler.scale(torch.ones((), device=self.state.sums.device))
        return scale
