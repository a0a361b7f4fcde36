"""What two translators learn without pairs: a game each, and that an image comes back as it was (Zhu et al. 2017).

In a batch, images at even places are of the kind that is wanted, those at odd places of the kind that is given, and so
are the images that are made. Nothing tells which belong together.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganlib.config import UnpairedOptions
from ganlib.networks.cyclegan import WAYS, CycleCritic, CycleGenerator
from ganlib.training.gan.objective import CriticTerms, GanObjective
from ganlib.training.gan.penalties import Penalties
from ganlib.training.inputs import Inputs, RealBatch, interleaved
from ganlib.training.precision import autocast
from ganlib.training.randomness import Draws
from ganlib.training.recipe import Recipe
from ganlib.training.state import TrainState


@dataclass(frozen=True)
class CycleObjective:
    """The losses of both translators and their critics, on one part of a batch; see `GanObjective`."""

    state: TrainState
    recipe: Recipe

    def generate(self, inputs: Inputs) -> Tensor:
        """Images [N, C, H, W], each made of its neighbour in the batch."""
        images, latents = inputs.real.images, inputs.latents
        return interleaved(*(self._made(way, images[1 - way :: 2], latents[1 - way :: 2]) for way in WAYS))

    def critic(self, inputs: Inputs, fake: Tensor, penalties: Penalties) -> CriticTerms:
        """The sum of both critics' losses; `fake` [N, C, H, W] gets no gradients."""
        terms = [self._game(way).critic(_of(inputs, way), fake[way::2], penalties) for way in WAYS]
        adversarial, penalty = (terms[0][each] + terms[1][each] for each in (0, 1))
        real_logits, fake_logits = (torch.cat([terms[0][each], terms[1][each]]) for each in (2, 3))
        return CriticTerms(adversarial, penalty, real_logits, fake_logits)

    def generator(self, inputs: Inputs, fake: Tensor) -> tuple[Tensor, ...]:
        """The loss [] on what was made, `fake` [N, C, H, W], and of it CYCLE_FIGURES, [] each, without gradients."""
        loss = self.recipe.loss
        assert isinstance(loss, UnpairedOptions)
        assert inputs.other_latents is not None
        played, returned, kept = [], [], []
        for way in WAYS:
            real = inputs.real.images[way::2]
            (adversarial,) = self._game(way).generator(_of(inputs, way), fake[way::2])
            played.append(adversarial)
            returned.append((self._made(way, fake[1 - way :: 2], inputs.other_latents[way::2]) - real).abs().mean())
            if loss.identity_weight:
                kept.append((self._made(way, real, inputs.latents[way::2]) - real).abs().mean())
        cycle = torch.stack(returned).sum()
        identity = torch.stack(kept).sum() if kept else torch.zeros_like(cycle)
        whole = torch.stack(played).sum() + loss.cycle_weight * cycle + loss.identity_weight * identity
        return whole, cycle.detach() / len(WAYS), identity.detach() / len(WAYS)

    def _made(self, way: int, images: Tensor, latents: Tensor) -> Tensor:
        """What one way makes of images, with latents [N / 2, Z]: [N / 2, C, H, W]."""
        generator = self.state.generator
        assert isinstance(generator, CycleGenerator)
        with autocast(self.recipe.options, images.device):
            return generator.way(way)(latents, images)

    def _game(self, way: int) -> GanObjective:
        critic = self.state.critic
        assert isinstance(critic, CycleCritic)
        return GanObjective(self.state, self.recipe, critic.way(way))


def _of(inputs: Inputs, way: int) -> Inputs:
    """The half of a batch that is of the kind which a way makes; translators are not augmented."""
    mixing = None if inputs.mixing is None else inputs.mixing[way::2]
    real = RealBatch(inputs.real.images[way::2], None)
    return replace(inputs, real=real, latents=inputs.latents[way::2], mixing=mixing)


def partly_earlier(history: Tensor, made: Tensor, draws: Draws) -> Tensor:
    """Half of what was made, exchanged for earlier images of the same kind (Shrivastava et al. 2017, section 2.3).

    What is exchanged stays in the history in the place of what is shown; empty places take an image that is shown too.
    Every process sees the whole batch, so that all have the same history.

    Args:
        history: changed in place, [2, K, C, H, W] with K >= batch size / 2; NaN where there is no image yet.
        made: this process's share of the images of an iteration, [n, C, H, W].
        draws: of the iteration.

    Returns:
        As many images for the critics.
    """
    whole = draws.gathered(made)
    _, capacity, *_ = history.shape
    each = len(whole) // len(WAYS)
    places = draws.whole_uniform(len(WAYS), capacity).argsort(dim=1)[:, :each]
    chosen = draws.whole_uniform(len(WAYS), each) < 0.5
    shown = []
    for way in WAYS:
        new, earlier = whole[way::2], history[way].index_select(0, places[way])
        empty = earlier[:, 0, 0, 0].isnan()
        swapped, stored = (kept[:, None, None, None] for kept in (chosen[way] & ~empty, chosen[way] | empty))
        shown.append(torch.where(swapped, earlier, new))
        history[way].index_copy_(0, places[way], torch.where(stored, new, earlier))
    return draws.share(interleaved(*shown))
