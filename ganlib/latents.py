"""Points of a latent space."""

import torch

from ganlib.errors import UserError

# Latents nearer in angle than this are joined by a straight line, from which the arc differs by rounding only.
SMALLEST_ANGLE = 1e-6


def spherical(starts: torch.Tensor, ends: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Points on the arcs between latents (Shoemake 1985; White 2016): between Gaussians, all of typical length.

    Args:
        starts: [N, Z].
        ends: [N, Z].
        positions: 0 at the start to 1 at the end, [N].

    Returns:
        [N, Z]; lengths go evenly from the start's to the end's where these differ.

    Raises:
        UserError: a start and an end that are exactly opposite, between which every arc is as good, or a zero latent.
    """
    lengths, end_lengths = (side.norm(dim=1, keepdim=True) for side in (starts, ends))
    if not bool((lengths > 0).all() and (end_lengths > 0).all()):
        raise UserError("latents: found one of length zero, which has no direction; draw others")
    a, b = starts / lengths, ends / end_lengths
    # From the chord and its complement: exact also for small angles, where the arc cosine is not.
    angle = 2 * torch.atan2((a - b).norm(dim=1, keepdim=True), (a + b).norm(dim=1, keepdim=True))
    if bool((angle > torch.pi - SMALLEST_ANGLE).any()):
        raise UserError("latents: found two that are exactly opposite, with no one arc between them; draw others")
    t = positions[:, None].to(starts.dtype)
    sine = angle.sin()
    curved = angle > SMALLEST_ANGLE
    safe = torch.where(curved, sine, torch.ones_like(sine))
    weight = torch.where(curved, ((1 - t) * angle).sin() / safe, 1 - t)
    end_weight = torch.where(curved, (t * angle).sin() / safe, t)
    points: torch.Tensor = (weight * a + end_weight * b) * torch.lerp(lengths, end_lengths, t)
    return points
