"""Gradient penalties on the critic, apart from the adversarial losses."""

import torch
from torch import Tensor


def zero_centered_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Squared norm of each logit's gradient with respect to its image: [N], [N, C, H, W] -> [N].

    R1 on real images and R2 on generated ones (Mescheder et al. 2018, eq. 9
    and 10; Roth et al. 2017); the caller weighs it with gamma / 2. `images`
    must require gradients and must have led to `logits`, each logit to its
    image alone: one backward pass then gives all the gradients. The result
    can be differentiated again.
    """
    assert images.requires_grad, "the penalty needs images that require gradients"
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.square().sum(dim=(1, 2, 3))
