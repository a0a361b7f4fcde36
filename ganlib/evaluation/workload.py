"""How much there is to do in an evaluation, before it begins."""

from dataclasses import dataclass

from ganlib.config import EvaluateOptions
from ganlib.evaluation.copying import PLANTED


@dataclass(frozen=True)
class Workload:
    """Images that the extractor looks at, images that the generator makes, and images that the critic judges."""

    looked_at: int
    generated: int
    judged: int


def workload_of(options: EvaluateOptions, *, train: int, test: int) -> Workload:
    """What `evaluate` does with so many training and held-out images, if nothing is known from before.

    Left out are the few images of pictures, the accuracy score and the reconstruction.
    """
    latent, samples = options.latent, options.samples
    draws = 1 + sum(psi != 1 for psi in latent.truncations)
    ends = 2 * latent.path_pairs
    rejection = 2 * samples if latent.kept_share is not None else 0
    return Workload(
        looked_at=train + test + draws * samples + PLANTED + ends,
        generated=(draws + 1) * samples + rejection + ends,
        judged=rejection + min(train, samples) if rejection else 0,
    )
