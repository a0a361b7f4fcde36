"""Spectral norm (Miyato et al. 2018): weights divided by an estimate of their largest singular value.

As in their algorithm 1, one power iteration renews the estimate at each update of the weights
(`SpectralNorms.renew`), not at each of the passes between two updates.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ganlib.networks.blocks import full_precision

SPECTRAL_EPSILON = 1e-12
WARM_UP = 15  # power iterations at the start
LayerT = TypeVar("LayerT", bound=nn.Module)


def spectral_norm(layer: LayerT, *, epsilon: float = SPECTRAL_EPSILON) -> LayerT:
    """Divide the layer's weight by its largest singular value, as `SpectralNorms` has last estimated it.

    Initialise the weight before: its singular vectors are looked for here.
    """
    outputs_dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    weight = layer.weight
    assert isinstance(weight, Tensor)
    norm = _SpectralNorm(weight, dim=outputs_dim, epsilon=epsilon)
    parametrize.register_parametrization(layer, "weight", norm, unsafe=True)  # its shape is known to be right
    return layer


class SpectralNorms:
    """Those of all layers of a network, which may have none."""

    def __init__(self, network: nn.Module) -> None:
        found: list[tuple[_SpectralNorm, Tensor]] = []
        for layer in network.modules():
            if isinstance(layer, parametrize.ParametrizationList) and isinstance(layer[0], _SpectralNorm):
                assert isinstance(layer.original, Tensor)
                found.append((layer[0], layer.original))
        self._norms = [norm for norm, _ in found]
        self._weights = [weight for _, weight in found]
        self._epsilons = [norm.epsilon for norm in self._norms]

    @torch.no_grad()
    def renew(self) -> None:
        """One power iteration each; to be called when the weights have been updated."""
        if not self._norms:
            return
        matrices = [norm.matrix(weight) for norm, weight in zip(self._norms, self._weights, strict=True)]
        left, right = [norm._u for norm in self._norms], [norm._v for norm in self._norms]
        torch._foreach_copy_(left, self._units([torch.mv(each, v) for each, v in zip(matrices, right, strict=True)]))
        torch._foreach_copy_(right, self._units([torch.mv(each.T, u) for each, u in zip(matrices, left, strict=True)]))
        for norm, matrix, weight in zip(self._norms, matrices, self._weights, strict=True):
            norm.estimate(matrix, weight)

    def _units(self, vectors: list[Tensor]) -> tuple[Tensor, ...]:
        """As `F.normalize`."""
        lengths = torch._foreach_norm(vectors)
        torch._foreach_clamp_min_(lengths, self._epsilons)
        return torch._foreach_div(vectors, lengths)


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
        matrix = self.matrix(weight)
        u, v = (matrix.new_empty(length) for length in matrix.shape)
        if not matrix.is_meta:  # without values there is nothing to find
            u, v = self._unit(u.normal_()), self._unit(v.normal_())
            with torch.no_grad():
                for _ in range(WARM_UP):
                    u = self._unit(torch.mv(matrix, v))
                    v = self._unit(torch.mv(matrix.T, u))
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)
        self._sigma: Tensor | None = None  # no buffer: files need not hold what follows from the others
        self._estimated_at = -1

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, of the same shape."""
        with full_precision(weight):
            if not self.training:
                matrix = self.matrix(weight)
                with torch.no_grad():
                    v = self._unit(self._v)
                    u = self._unit(torch.mv(matrix, v))
                    largest = torch.vdot(u, torch.mv(matrix, v))
                return self._divided(weight, u, v, largest)
            if torch.compiler.is_compiling():
                return weight / torch.vdot(self._u, torch.mv(self.matrix(weight), self._v))
            sigma = self._sigma
            if sigma is None or weight._version != self._estimated_at or not _alike(sigma, weight):
                sigma = self.estimate(self.matrix(weight), weight)  # just made, loaded, moved or changed by hand
            return self._divided(weight, self._u, self._v, sigma)

    @torch.no_grad()
    def estimate(self, matrix: Tensor, weight: Tensor) -> Tensor:
        """Keep the singular value [] that belongs to the vectors, where a captured graph finds it; returns it."""
        sigma = torch.vdot(self._u, torch.mv(matrix, self._v))
        if self._sigma is None or not _alike(self._sigma, sigma):
            self._sigma = sigma
        else:
            self._sigma.copy_(sigma)
        self._estimated_at = weight._version
        return self._sigma

    def matrix(self, weight: Tensor) -> Tensor:
        """[outputs, all else]."""
        return weight.movedim(self.dim, 0).flatten(1)

    def _divided(self, weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        moved = weight.movedim(self.dim, 0).shape
        columns = u.view(-1, *[1] * (len(moved) - 1)).movedim(0, self.dim)
        rows = v.view(1, *moved[1:]).movedim(0, self.dim)
        divided: Tensor = _Divided.apply(weight, columns, rows, sigma)
        return divided

    def _unit(self, vector: Tensor) -> Tensor:
        return F.normalize(vector, dim=0, eps=self.epsilon)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device


class _Divided(torch.autograd.Function):
    """Weight over its singular value u W v, u and v being constant."""

    @staticmethod
    def forward(context: Any, weight: Tensor, columns: Tensor, rows: Tensor, sigma: Tensor) -> Tensor:
        divided = weight / sigma
        context.save_for_backward(divided, columns, rows, sigma)
        return divided

    @staticmethod
    @once_differentiable
    def backward(context: Any, pull: Tensor) -> tuple[Tensor | None, ...]:
        divided, columns, rows, sigma = context.saved_tensors
        along = (pull * divided).sum()
        return torch.addcmul(pull, columns * along, rows, value=-1).div_(sigma), None, None, None
