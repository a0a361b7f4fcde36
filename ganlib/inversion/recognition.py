"""Whether a generator has made an image: it comes nearer to its own images than to real ones that it never saw."""

from collections.abc import Callable
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from ganlib.config import ReconstructionOptions
from ganlib.errors import UserError
from ganlib.inversion.projection import reconstruct
from ganlib.metrics.reconstruction import HIGHEST_PSNR, psnr
from ganlib.networks.base import Critic
from ganlib.networks.encoder import Encoder
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images

# Of the samples at which searches start.
_SEED = 0
# One search finds a generator's own image, and comes the nearer the longer it lasts; more starts serve real images too.
_STARTS, _TIMES_STEPS = 1, 2


@dataclass(frozen=True)
class Search:
    """A search for the latents of images whose class nobody tells.

    Attributes are the arguments of `ganlib.inversion.projection.reconstruct`.
    """

    generator: ImageGenerator
    options: ReconstructionOptions
    critic: Critic | None
    encoder: Encoder | None
    notify: Callable[[str], None]

    def psnr_db(self, images: Images) -> NDArray[np.float64]:
        """Of images, uint8 [N, H, W, C], and the nearest ones of the generator that were found: [N]."""
        steps = _TIMES_STEPS * self.options.steps
        found = reconstruct(
            self.generator,
            images,
            self.options.model_copy(update={"starts": _STARTS, "steps": steps}),
            seed=_SEED,
            critic=self.critic,
            encoder=self.encoder,
            notify=self.notify,
        )
        return np.asarray(np.minimum(psnr(images, found.images), HIGHEST_PSNR))


def rank_of_threshold(held_out: int, false_positive_rate: float) -> int:
    """Which of the highest PSNRs of held-out images an image has to exceed to be recognised; 1 is the highest.

    Of n held-out images and another real one each has the same chance to be the k-th nearest: the other one exceeds the
    k-th highest PSNR of the n with probability k / (n + 1) at most (Vovk et al. 2005, conformal prediction).

    Raises:
        UserError: too few held-out images for such a rate.
    """
    rank = floor(false_positive_rate * (held_out + 1))
    if rank < 1:
        raise UserError(
            f"--false-positives {false_positive_rate:g}: {held_out} held-out images tell no rates below "
            f"{1 / (held_out + 1):.2g}; raise it"
        )
    return rank
