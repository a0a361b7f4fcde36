"""How much the images of a batch differ, as something that a critic sees (Karras et al. 2018, section 3).

The paper adds the mean of all deviations to the features as a plane. Here each has a weight of its own in the logit,
with spectral norm.
"""

from torch import Tensor, nn

from ganlib.networks.spectral import spectral_norm

EPSILON = 1e-8


class MinibatchStd(nn.Module):
    """A term of the logit: weighted standard deviations of the features over groups of images.

    In evaluation mode it is 0, so that a logit tells of its own image alone.

    Args:
        features: F.
        group_images: how many neighbours are compared; a batch has whole groups, or one that is smaller.
    """

    def __init__(self, features: int, group_images: int) -> None:
        super().__init__()
        self.group_images = group_images
        self.weights = spectral_norm(nn.Linear(features, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """[N, F], neighbours forming the groups -> [N]."""
        if not self.training:
            return features.new_zeros(len(features))
        size = min(self.group_images, len(features))
        groups = features.reshape(-1, size, features.shape[1])
        terms: Tensor = self.weights((groups.var(dim=1, correction=0) + EPSILON).sqrt())
        return terms.expand(-1, size).flatten()
