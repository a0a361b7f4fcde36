"""Gradient penalties on the critic, apart from the adversarial losses."""

import torch
from torch import Tensor


def zero_centered_penalty(logits: Tensor, images: Tensor, *, loss_scale: Tensor | float = 1.0) -> Tensor:
    """Squared norm of each logit's gradient with respect to its image: [N], [N, C, H, W] -> [N].

    R1 on real images and R2 on generated ones (Mescheder et al. 2018, eq. 9
    and 10; Roth et al. 2017); the caller weighs it with gamma / 2. `images`
    must require gradients and must have led to `logits`, each logit to its
    image alone: one backward pass then gives all the gradients. The result
    can be differentiated again.

    The gradients are carried back multiplied by `loss_scale` (a number or
    [] tensor, so that they do not vanish in float16; it must itself be
    finite in the type of the logits) and divided by it in float32 or wider.
    """
    return _squared_gradient_norms(logits, images, loss_scale)


def one_centered_penalty(logits: Tensor, images: Tensor, *, loss_scale: Tensor | float = 1.0) -> Tensor:
    """(gradient norm - 1)^2 of each logit by its image: [N], [N, C, H, W] -> [N].

    WGAN-GP (Gulrajani et al. 2017, eq. 3), on images from `interpolate`; the
    rest as in `zero_centered_penalty`. Where the gradient is zero the
    derivative of the norm is taken as zero, so that it stays finite.
    """
    squares = _squared_gradient_norms(logits, images, loss_scale)
    # The root's derivative at 0 is infinite, and infinity times 0 is no number: the root is never taken there.
    positive = squares > 0
    norms = torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)
    return (norms - 1).square()


def interpolate(real: Tensor, fake: Tensor, mixing: Tensor) -> Tensor:
    """Points between pairs of images: [N, C, H, W] twice, [N] in [0, 1] -> [N, C, H, W].

    0 gives the real image, 1 the generated one (Gulrajani et al. 2017,
    algorithm 1, line 6, whose epsilon is 1 - `mixing`: both are uniform).
    """
    return torch.lerp(real, fake, mixing.to(real.dtype)[:, None, None, None])


def _squared_gradient_norms(logits: Tensor, images: Tensor, loss_scale: Tensor | float) -> Tensor:
    assert images.requires_grad, "the penalty needs images that require gradients"
    seed = torch.ones_like(logits) * loss_scale
    (gradients,) = torch.autograd.grad(logits, images, seed, create_graph=True)
    wide = gradients.to(torch.promote_types(gradients.dtype, torch.float32)) / loss_scale
    return wide.square().sum(dim=(1, 2, 3))
