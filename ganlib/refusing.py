"""Samples that the generator's own critic finds least real, replaced by others before anybody sees them."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ganlib.networks.base import Critic, of_each_image
from ganlib.packaging import ImageGenerator
from ganlib.sampling import ROWS_AT_ONCE, from_uint8, inference, seeded_latents

# Samples of a class that tell what share a logit is above: to 1.5 % where a tenth is refused.
_CALIBRATED_ON = 400
_CALIBRATION_SEED = 0
# Of so many attempts the best one stays: where half are refused, for one of 256 images.
MOST_ATTEMPTS = 8


class Refusing:
    """What a critic refuses of a generator's samples, class by class: which classes it likes plays no part."""

    def __init__(self, generator: ImageGenerator, load_critic: Callable[[], Critic]) -> None:
        """On the CPU; the critic is loaded when it is needed first."""
        self._generator, self._load_critic = generator, load_critic
        self._usual: dict[int, Tensor] = {}

    def choose(
        self, latents_of: Callable[[int], Tensor], labels: Tensor | None, *, share: float
    ) -> tuple[Tensor, Tensor]:
        """Latents [N, Z] of samples that are not refused, and at which attempt each was found, int64 [N].

        Each row depends on itself alone.

        Args:
            latents_of: of an attempt, 0 or more.
            labels: class indices [N]; None of an unconditional generator.
            share: of the samples of each class, those that the critic finds least real, which are refused.

        Raises:
            UserError: there is no critic.
        """
        chosen = latents_of(0)
        classes = [0] * len(chosen) if labels is None else labels.tolist()
        least = torch.stack([self._logits_of(label).quantile(share) for label in classes])
        logits, attempts = self._logits(chosen, labels), torch.zeros(len(chosen), dtype=torch.int64)
        for attempt in range(1, MOST_ATTEMPTS):
            refused = (logits < least).nonzero().flatten()
            if not len(refused):
                break
            others = latents_of(attempt)[refused]
            found = self._logits(others, None if labels is None else labels[refused])
            better = found > logits[refused]
            rows = refused[better]
            chosen[rows], logits[rows], attempts[rows] = others[better], found[better], attempt
        return chosen, attempts

    @cached_property
    def _critic(self) -> Critic:
        return self._load_critic()

    def _logits_of(self, label: int) -> Tensor:
        if label not in self._usual:
            latents = seeded_latents(_CALIBRATED_ON, self._generator.network.latent_dim, _CALIBRATION_SEED)
            labels = torch.full((_CALIBRATED_ON,), label) if self._generator.conditional else None
            self._usual[label] = self._logits(latents, labels)
        return self._usual[label]

    def _logits(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """How real samples look, [N]; in batches of one size, so that a row depends on itself alone."""
        critic, images = self._critic, from_uint8(self._generator.draw(latents, labels))
        count = len(images)
        rows = torch.arange(-(-count // ROWS_AT_ONCE) * ROWS_AT_ONCE).clamp(max=count - 1)
        asked = labels if critic.num_classes else None
        with inference(critic):
            found = [
                of_each_image(critic(images[each], None if asked is None else asked[each]))
                for each in torch.split(rows, ROWS_AT_ONCE)
            ]
        return torch.cat(found)[:count]
