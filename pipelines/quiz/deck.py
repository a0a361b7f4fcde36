"""Which images a person sees, in which order; every image is made when it is looked at."""

import io
import secrets
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ganlib.datasets.packed.reading import Split
from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator


@dataclass(frozen=True)
class Card:
    """One image that a person is asked about.

    Attributes:
        address: where the page finds it; says nothing of the image and cannot be guessed.
        generated: the truth.
        index: of the held-out image, or the seed that the generator makes it from.
        label: its class; None where there is none.
    """

    address: str
    generated: bool
    index: int
    label: int | None


class Deck:
    """Deals half real and half generated images, of the same classes, in random order."""

    def __init__(self, generator: ImageGenerator, held_out: Split, *, count: int, seed: int) -> None:
        """Every person gets `count` images of their own.

        Raises:
            UserError: there are not so many held-out images.
        """
        self.count, self.seed = count, seed
        self._generator, self._held_out = generator, held_out
        self._reals = count - count // 2
        if self._reals > len(held_out):
            raise UserError(
                f"--count {count}: needs {self._reals} held-out images, found {len(held_out)}; "
                f"ask for at most {2 * len(held_out)}"
            )

    def deal(self, person: int) -> tuple[Card, ...]:
        """The cards of the person with this number."""
        random = np.random.default_rng([self.seed, person])
        reals = random.choice(len(self._held_out), self._reals, replace=False)
        # Generated images have the classes of held-out ones, or rare classes would give them away.
        models = random.choice(len(self._held_out), self.count - self._reals, replace=False)
        seeds = random.integers(2**32, size=len(models))
        cards = [self._card(False, int(index), int(index)) for index in reals]
        cards += [self._card(True, int(seed), int(model)) for seed, model in zip(seeds, models, strict=True)]
        return tuple(cards[place] for place in random.permutation(self.count))

    def png(self, card: Card) -> bytes:
        """The image as a file; all files of a quiz have the same length and take the same time."""
        labels = None if card.label is None or not self._generator.conditional else [card.label]
        # Generated in any case: how long it takes would tell.
        pixels = self._generator.sample(seed=card.index, count=1 if labels is None else None, labels=labels)[0]
        if not card.generated:
            pixels = self._held_out.take(np.array([card.index]))[0]
        file = io.BytesIO()
        # Stored, not compressed: how well an image compresses tells real from generated ones.
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, format="PNG", compress_level=0)
        return file.getvalue()

    def _card(self, generated: bool, index: int, of_class: int) -> Card:
        label = None
        if self._held_out.labels is not None and (self._generator.conditional or not generated):
            label = int(self._held_out.labels[of_class])
        return Card(secrets.token_urlsafe(16), generated, index, label)
