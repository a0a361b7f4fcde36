"""Self-attention over the positions of a feature map."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Features plus a learned multiple, 0 at the start, of what each position attends to.

    Zhang et al. 2019 (SAGAN), eqs. 1 to 3: queries and keys have an eighth of
    the channels (at least one), values half; no scaling. Keys and values are
    max-pooled 2 x 2, as in BigGAN (Brock et al. 2019, appendix B). Written
    with plain products, since fused kernels cannot be differentiated twice.

    Args:
        channels: of the features.
        projection: makes a bias-free 1 x 1 convolution between so many channels.
    """

    def __init__(self, channels: int, projection: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = projection(channels, narrow)
        self.key = projection(channels, narrow)
        self.value = projection(channels, half)
        self.output = projection(half, channels)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]; H and W are even."""
        queries = self.query(features).flatten(2)
        keys = _max_pool(self.key(features)).flatten(2)
        values = _max_pool(self.value(features)).flatten(2)
        # [N, HW, HW/4]: how much each position (row) takes from each pooled one.
        shares = torch.softmax(queries.transpose(1, 2) @ keys, dim=-1)
        attended = torch.unflatten(values @ shares.transpose(1, 2), 2, features.shape[2:])
        outputs: Tensor = self.output(attended)
        return features + self.gain * outputs


def _max_pool(features: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, H/2, W/2]; PyTorch's own has no deterministic backward on GPUs."""
    samples, channels, height, width = features.shape
    return features.view(samples, channels, height // 2, 2, width // 2, 2).amax(dim=(3, 5))
