"""Pieces that several network families share."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ganlib.networks.convolution import convolve

LEAKY_SLOPE = 0.2


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """A context on the tensor's device in which autocast, if any, is suspended."""
    kind = tensor.device.type
    # The meta device, on which only shapes exist, knows no autocast.
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def leaky_relu() -> nn.LeakyReLU:
    """Leaky ReLU with slope 0.2, in place: it must follow a layer that does not keep its output for backward."""
    return nn.LeakyReLU(LEAKY_SLOPE, inplace=True)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gain and bias depend on the class (Dumoulin et al. 2017, eq. 5).

    The embedding holds gain - 1 and bias, zero at the start: plain normalisation.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.embedding = nn.Embedding(num_classes, 2 * channels)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """[N, C, H, W], int64 [N] -> [N, C, H, W]."""
        normalised = self.norm(features)
        gain, bias = self.embedding(labels).to(normalised.dtype)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(bias, normalised, 1 + gain)


class Upsample(nn.Module):
    """Twice the side: zeros between pixels, then the binomial [1, 3, 3, 1] filter along both axes.

    The filter is normalised with gain 4, so that a constant keeps its value
    away from the border; beyond the border are zeros (as in R3GAN).
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", 4 * _binomial_kernel())

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, 2H, 2W]."""
        channels = features.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        return convolve(features, kernel, stride=2, padding=1, groups=channels, transposed=True)


class Downsample(nn.Module):
    """Half the side: the normalised [1, 3, 3, 1] filter along both axes, then every second pixel.

    The adjoint of `Upsample`, up to its gain.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _binomial_kernel())

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H/2, W/2]."""
        channels = features.shape[1]
        return convolve(features, self.kernel.expand(channels, -1, -1, -1), stride=2, padding=1, groups=channels)


def _binomial_kernel() -> Tensor:
    """[1, 1, 4, 4], of sum 1. A saved buffer of its owner: networks are also rebuilt from weights alone."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(taps, taps)[None, None]
