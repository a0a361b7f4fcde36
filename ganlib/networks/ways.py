"""Generators that make several kinds of images, a way each."""

from abc import ABC, abstractmethod

from torch import Tensor

from ganlib.networks.base import Generator


class ManyWays(Generator, ABC):
    """A translator into several kinds; called, it is the first way. `num_ways` is how many there are."""

    def __init__(self, *, latent_dim: int, num_ways: int) -> None:
        super().__init__(latent_dim=latent_dim, num_classes=0)
        self.num_ways = num_ways

    @abstractmethod
    def way(self, index: int) -> Generator:
        """The translator into one kind, which shares its weights with this one."""

    def forward(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        """Latents [N, Z], images as they are given [N, C, H, W] -> images of the first kind [N, C, H, W]."""
        return self.way(0)(latents, condition)
