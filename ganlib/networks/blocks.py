"""Pieces that several network families share."""

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

LEAKY_SLOPE = 0.2
SPECTRAL_EPSILON = 1e-12
SPECTRAL_WARM_UP = 15
LayerT = TypeVar("LayerT", bound=nn.Module)


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """A context on the tensor's device in which autocast, if any, is suspended."""
    kind = tensor.device.type
    # The meta device, on which only shapes exist, knows no autocast.
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def leaky_relu() -> nn.LeakyReLU:
    """Leaky ReLU with slope 0.2, in place: it must follow a layer that does not keep its output for backward."""
    return nn.LeakyReLU(LEAKY_SLOPE, inplace=True)


def spectral_norm(layer: LayerT, *, epsilon: float = SPECTRAL_EPSILON) -> LayerT:
    """Divide the layer's weight by its largest singular value (Miyato et al. 2018, algorithm 1).

    One power iteration an access while training; none in evaluation mode.
    Initialise the weight before: its singular vectors are looked for here.
    """
    outputs_dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", _SpectralNorm(weight, dim=outputs_dim, epsilon=epsilon))
    return layer


class _SpectralNorm(nn.Module):
    """Weight -> weight / largest singular value, in full precision under autocast too.

    PyTorch's own computes in half precision there. Its singular vectors also
    have to be of length 1 in evaluation mode, which the averaged ones of an
    EMA are not.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, *, dim: int, epsilon: float) -> None:
        super().__init__()
        self.dim = dim
        self.epsilon = epsilon
        matrix = self._matrix(weight)
        u = matrix.new_empty(matrix.shape[0]).normal_()
        v = matrix.new_empty(matrix.shape[1]).normal_()
        self.register_buffer("_u", self._unit(u))
        self.register_buffer("_v", self._unit(v))
        for _ in range(0 if matrix.is_meta else SPECTRAL_WARM_UP):  # without values there is nothing to find
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, of the same shape."""
        with full_precision(weight):
            matrix = self._matrix(weight)
            if self.training:
                self._iterate(matrix)
                # Copies: a second pass before backward must not change what the first one kept.
                u, v = self._u.clone(), self._v.clone()
            else:
                with torch.no_grad():
                    v = self._unit(self._v)
                    u = self._unit(torch.mv(matrix, v))
            return weight / torch.vdot(u, torch.mv(matrix, v))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self._u.copy_(self._unit(torch.mv(matrix, self._v)))
        self._v.copy_(self._unit(torch.mv(matrix.T, self._u)))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    def _unit(self, vector: Tensor) -> Tensor:
        return F.normalize(vector, dim=0, eps=self.epsilon)


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
        return F.conv_transpose2d(features, kernel, stride=2, padding=1, groups=channels)


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
        return F.conv2d(features, self.kernel.expand(channels, -1, -1, -1), stride=2, padding=1, groups=channels)


def _binomial_kernel() -> Tensor:
    """[1, 1, 4, 4], of sum 1. A saved buffer of its owner: networks are also rebuilt from weights alone."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(taps, taps)[None, None]
