"""A network with the layers that PyTorch ships, as public examples write it, in place of ours."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from ganlib.networks.blocks import Downsample, Upsample
from ganlib.networks.convolution import Conv2d, DoublingConv2d, HalvingConv2d


class _Upsample(Upsample):
    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        return F.conv_transpose2d(features, kernel, stride=2, padding=1, groups=channels)


class _Downsample(Downsample):
    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        return F.conv2d(features, kernel, stride=2, padding=1, groups=channels)


class _Doubling(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.interpolate(input, scale_factor=2, mode="nearest"))


class _Halving(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(input), 2)


STOCK = {
    Conv2d: nn.Conv2d, DoublingConv2d: _Doubling, HalvingConv2d: _Halving, Upsample: _Upsample, Downsample: _Downsample,
}  # fmt: skip


def use_stock_layers(network: nn.Module) -> None:
    """Replace convolutions, filters and spectral norms (one power iteration a pass) in place; weights stay."""
    for layer in list(network.modules()):
        normalised = parametrize.is_parametrized(layer, "weight")
        if normalised:  # PyTorch's way to undo it would undo it in all copies of the network
            weight = layer.get_parameter("parametrizations.weight.original")
            del layer.parametrizations
            layer.__class__ = type(layer).__bases__[0]
            layer.register_parameter("weight", weight)
        layer.__class__ = STOCK.get(type(layer), type(layer))
        if normalised:
            parametrizations.spectral_norm(layer)
