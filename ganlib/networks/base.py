"""What every generator and critic promises; final classes live one family a file."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn


class Generator(nn.Module, ABC):
    """Latents to images, on a condition: labels, nothing, or the images that a translator is given.

    `latent_dim` is Z; `num_classes` is 0 when the generator is unconditional.
    """

    def __init__(self, *, latent_dim: int, num_classes: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        """Latents [N, Z] and int64 labels [N] or images [N, C, H, W] (None: unconditional) to images [N, C, H, W].

        Images are nominally in [-1, 1] and have the dtype of the latents, under autocast too.
        """

    if TYPE_CHECKING:  # nn.Module's own __call__ is untyped

        def __call__(self, latents: Tensor, condition: Tensor | None) -> Tensor: ...  # noqa: D102


class Critic(nn.Module, ABC):
    """Images to logits, high where they look real.

    `couples_samples` is true when the logit of one image depends on its
    neighbours in the batch (batch norm, a comparison of images): then a gradient penalty per image
    has no meaning.
    `feature_dim` is F.
    """

    def __init__(self, *, num_classes: int, couples_samples: bool, feature_dim: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.couples_samples = couples_samples
        self.feature_dim = feature_dim

    @abstractmethod
    def embed(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W] and their condition (None: unconditional) to what the logits are made of, [N, F].

        Features have the dtype of the images, under autocast too.
        """

    @abstractmethod
    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Images [N, C, H, W] and their condition, int64 labels [N] or images (None: unconditional), to logits [N].

        A critic of patches gives several for each image, [N, patches], one with frozen features [N, 1 + scales].

        Logits have the dtype of the images, under autocast too.
        """

    def can_share_a_pass(self, images: int) -> bool:
        """Whether so many real images, and as many generated ones behind them, get their logits as if alone."""
        return not self.couples_samples

    @abstractmethod
    def lower_layers(self) -> list[nn.Module]:
        """Layers or blocks from the image inwards; what makes logits of the features, and of labels, is not among them.

        Those of a pre-trained critic can be kept as they are from the first
        one on (FreezeD: Mo et al. 2020).
        """

    if TYPE_CHECKING:

        def __call__(self, images: Tensor, condition: Tensor | None) -> Tensor: ...  # noqa: D102


def of_each_image(logits: Tensor) -> Tensor:
    """One logit for each image, [N], where a critic gives one or several, [N] or [N, …]: their mean."""
    return logits.flatten(1).mean(dim=1) if logits.dim() > 1 else logits


@dataclass(frozen=True)
class Family:
    """How both networks of a family are made with given options; each call initialises afresh."""

    generator: Callable[[], Generator]
    critic: Callable[[], Critic]


def assert_labels_match(labels: Tensor | None, num_classes: int) -> None:
    """Programmer's check: labels are given exactly when the network has classes."""
    assert (labels is None) == (num_classes == 0), (
        "an unconditional network takes no labels" if labels is not None else "a conditional network needs labels"
    )
