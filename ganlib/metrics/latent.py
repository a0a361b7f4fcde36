"""What can be learned from a generator's latent space; pure parts, which know only callables and tensors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.errors import UserError
from ganlib.latents import spherical
from ganlib.metrics.estimates import Interval, normal_interval, require


def path_lengths(
    features_of: Callable[[torch.Tensor], torch.Tensor],
    starts: torch.Tensor,
    ends: torch.Tensor,
    positions: torch.Tensor,
    *,
    step: float,
    batch_size: int,
) -> NDArray[np.float64]:
    """How fast features move along arcs (Karras et al. 2019, eq. 2): |f(t + step) - f(t)|² / step², [N].

    Args:
        features_of: latents [n, Z] -> features [n, D] of the images made from them.
        starts: [N, Z].
        ends: [N, Z].
        positions: [N]; uniform in 0 to 1, or all 0 for lengths at the ends (Karras et al. 2020).
        step: 1e-4 in the papers; with float32 images 1e-3 loses fewer digits.
        batch_size: latents at a time; changes no result of a generator that treats images one by one.
    """
    lengths = []
    for start in range(0, len(starts), batch_size):
        rows = slice(start, start + batch_size)
        a, b, t = starts[rows], ends[rows], positions[rows]
        one, other = (features_of(spherical(a, b, at)).double() for at in (t, t + step))
        lengths.append((one - other).square().sum(dim=1) / step**2)
    return torch.cat(lengths).numpy()


def perceptual_path_length(lengths: NDArray[np.float64], *, level: float, cut: float) -> Interval:
    """Mean of path lengths without the extreme ones: smaller is smoother.

    Args:
        lengths: [N].
        level: of the interval; that of a trimmed mean (Tukey & McLaughlin 1963), by winsorised variance.
        cut: share taken off at each end, 0 to less than ½; the papers take 0.01.

    Raises:
        UserError: fewer than 100 lengths, or not finite ones.
    """
    require("perceptual path length", {"pairs of": len(lengths)}, 100, "a mean without its extremes")
    if not np.isfinite(lengths).all():
        raise UserError("perceptual path length: found features that are not finite; train the generator again")
    low, high = np.quantile(lengths, [cut, 1 - cut])
    kept = lengths[(lengths >= low) & (lengths <= high)]
    spread = float(np.clip(lengths, low, high).std(ddof=1))
    error = spread / ((1 - 2 * cut) * float(np.sqrt(len(lengths))))
    return normal_interval(float(kept.mean()), error, level, least=0)


@dataclass(frozen=True)
class Calibration:
    """Turns critic outputs into logarithms of real against generated density: slope · output + offset."""

    slope: float
    offset: float

    @classmethod
    def fit(cls, real: torch.Tensor, generated: torch.Tensor) -> "Calibration":
        """Logistic regression of real [M] against generated [N] outputs, both sides with equal weight.

        A hinge or Wasserstein critic's output is no log-odds (Azadi et al. 2019, section 3.1, train a layer for it).

        Raises:
            UserError: outputs that do not rank real above generated images, or separate them fully.
        """
        outputs = torch.cat([real, generated]).double()
        targets = torch.cat([torch.ones(len(real)), torch.zeros(len(generated))]).double()
        weights = torch.cat([torch.full((len(s),), 0.5 / len(s), dtype=torch.float64) for s in (real, generated)])
        scale = outputs.std().clamp(min=torch.finfo(torch.float64).tiny)
        inputs = torch.stack([(outputs - outputs.mean()) / scale, torch.ones_like(outputs)], dim=1)
        found = torch.zeros(2, dtype=torch.float64)
        for _ in range(50):
            shares = (inputs @ found).sigmoid()
            slope = inputs.T @ (weights * (targets - shares))
            curvature = (inputs * (weights * shares * (1 - shares))[:, None]).T @ inputs
            # The least curvature keeps a step finite where the sides are nearly separated.
            step = torch.linalg.solve(curvature + 1e-9 * torch.eye(2, dtype=torch.float64), slope)
            found += step
            if float(step.abs().max()) < 1e-10:
                break
        separated = float(real.min()) > float(generated.max())
        if separated or not float(found[0]) > 0:
            raise UserError(
                f"critic: found outputs that cannot be calibrated (slope {float(found[0]):.3g}); "
                "rejection sampling needs a critic that ranks real above generated images but not without error"
            )
        return cls(float(found[0] / scale), float(found[1] - found[0] * outputs.mean() / scale))

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """Outputs [N] -> log-odds [N], float64."""
        return outputs.double() * self.slope + self.offset


def acceptance(logits: torch.Tensor, highest: float, *, gamma: float) -> torch.Tensor:
    """Chance with which discriminator rejection sampling keeps an image (Azadi et al. 2019, eq. 8 and 9).

    Args:
        logits: log-odds of real against generated, [N].
        highest: the largest log-odds seen in a burn-in (10,000 images in the paper).
        gamma: 0 keeps the ratio of densities; above it fewer are kept, below it more.

    Returns:
        [N], 0 to 1, float64.
    """
    gap = (logits.double() - highest).clamp(max=-1e-8)
    return (gap - torch.log(-torch.expm1(gap)) - gamma).sigmoid()


def gamma_for_share(logits: torch.Tensor, highest: float, share: float) -> float:
    """The gamma with which this share of images is kept on average, by bisection; logits [N], share in 0 to 1."""
    assert 0 < share < 1
    low, high = -1e3, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        kept = float(acceptance(logits, highest, gamma=middle).mean())
        low, high = (middle, high) if kept > share else (low, middle)
    return (low + high) / 2
