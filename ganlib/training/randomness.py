"""Every random draw of a training as a function of (seed, purpose, images shown)."""

import hashlib

import torch
from torch import Tensor

from ganlib.config import TrainOptions
from ganlib.training.distributed import Ranks


def seed_at(seed: int, purpose: str, seen_images: int) -> int:
    """A seed that depends on nothing that happened before, so that resuming is exact."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{seen_images}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Draws:
    """The random numbers of an iteration, one after another from one generator that the clock seeds.

    A captured graph draws from the same generator, so that it finds the numbers of eager execution. Every process
    draws for the whole batch and takes its share, so that the number of devices changes nothing.
    """

    def __init__(self, options: TrainOptions, ranks: Ranks, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        self._seed, self._batch_size, self._ranks = options.seed, options.batch_size, ranks

    def begin(self, seen_images: int) -> None:
        """Seed them for the iteration that begins after `seen_images`; never to be called in a capture."""
        self.generator.manual_seed(seed_at(self._seed, "iteration", seen_images))
        # Dropout draws from PyTorch's own generator, for the images of this process alone.
        torch.manual_seed(seed_at(self._seed, f"dropout in {self._ranks.rank}", seen_images))

    def normal(self, *shape: int) -> Tensor:
        """This process's share of standard normal numbers [batch size, *shape]."""
        return self.share(torch.randn(self._batch_size, *shape, generator=self.generator, device=self.generator.device))

    def uniform(self, *shape: int) -> Tensor:
        """This process's share of numbers in [0, 1), [batch size, *shape]."""
        return self.share(self.whole_uniform(self._batch_size, *shape))

    def whole_uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), [*shape], the same in every process."""
        return torch.rand(*shape, generator=self.generator, device=self.generator.device)

    def share(self, whole: Tensor) -> Tensor:
        """This process's share of something [batch size, …]."""
        return whole[self._ranks.share(self._batch_size)]

    def gathered(self, share: Tensor) -> Tensor:
        """The shares of all processes, [batch size, …], not differentiable."""
        if self._ranks.size == 1:
            return share
        whole = share.new_zeros(self._batch_size, *share.shape[1:])
        self.share(whole).copy_(share)
        return self._ranks.total(whole)  # the others' rows being zero, the sum gathers
