"""torch-fidelity's Inception v3, faster: with its weights, or untrained."""

import hashlib
import io
from math import pi, sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from ganlib.config import ExtractorName
from ganlib.metrics.extractors.base import Extractor, Features
from ganlib.metrics.extractors.resizing import resized
from ganlib.pretrained.colours import on_white
from ganlib.pretrained.weights import reading, sha256_of
from ganlib.weightless import weightless

# Pixels a side that the network sees: those it was made for; or a tenth as many, for quick looks at small pictures.
INPUT_SIZE, SMALL_INPUT_SIZE = 299, 96
CALIBRATION_IMAGES = 16
# Keeps the variance of what passes a ReLU, under standardised weights (Brock et al. 2021, arXiv:2101.08692, section 3).
RELU_GAIN = sqrt(2 / (1 - 1 / pi))


class InceptionExtractor(Extractor):
    """The network of the usual FID: 2,048 features of RGB, RGBA on white, or grey.

    On two cores of an AMD EPYC with AVX-512 an image takes 31 ms where torch-fidelity's forward pass takes 66:
    channels-last is 1.49 times as fast, with folded batch norm 1.86, in passes of 8 images, whose activations stay in
    the cache, 2.16. Features differ by 2 to 5e-5 of their norm, and from those in float64 no more than torch-fidelity's
    do. Left out for what they brought: TorchInductor with frozen weights (5 % after 30 s), merged sibling convolutions
    (2 %), TorchScript (slower), bfloat16 (an error of .14).
    """

    alpha = "on_white"
    packages = ("torch-fidelity",)

    def __init__(self, name: ExtractorName, model: Any, weights_sha256: str, device: torch.device) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.device = device
        small = name == "random-96"
        self.pass_images = 8 if device.type == "cpu" and not small else 64
        self.input_size = SMALL_INPUT_SIZE if small else INPUT_SIZE
        *trunk, head = _folded(model).children()
        self.trunk = nn.Sequential(*trunk).to(device).to(memory_format=torch.channels_last)
        # An untrained network knows no classes.
        self.head = head.weight.to(device).T if name == "inception" else torch.empty(head.in_features, 0, device=device)

    def look(self, images: Tensor) -> Features:
        """Images [N, C, H, W] in [-1, 1] of any size -> features [N, 2048] and unbiased logits [N, 1008]."""
        # Of levels from 0 to 255 the network takes (level - 128) / 128.
        levels = on_white(images) * (127.5 / 128) - 0.5 / 128
        values = self.trunk(resized(levels, self.input_size).contiguous(memory_format=torch.channels_last)).flatten(1)
        return Features(values, values @ self.head)


def load_inception(path: Path, device: torch.device) -> InceptionExtractor:
    """With the weights in a file.

    Raises:
        UserError: it holds others, or code.
    """
    with weightless():
        model = _network()
    with reading(path, "inception"):
        nn.Module.load_state_dict(model, torch.load(path, map_location="cpu", weights_only=True), assign=True)
    return InceptionExtractor("inception", model.float(), sha256_of(path), device)


def untrained_inception(name: ExtractorName, seed: int, device: torch.device) -> InceptionExtractor:
    """With random weights, the same for a seed; `random-96` sees images of 96 pixels a side instead of 299."""
    model = untrained_network(seed)
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        if not key.startswith("fc."):
            digest.update(key.encode() + tensor.numpy().tobytes())
    return InceptionExtractor(name, model, digest.hexdigest(), device)


def untrained_network(seed: int) -> Any:
    """torch-fidelity's network with random weights.

    As usually initialised, deep networks see little but brightness: the features of 64 CIFAR-10 images lie in 1.1
    effective dimensions. With standardised weights, which sum to 0 in each filter, and batch norm calibrated on noise
    of all scales, they lie in 13, and none is constant.
    """
    model = _network()
    draw = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(_standardised(layer.weight.shape, draw))
    _calibrate(model, _noise(draw))
    return model


def _network() -> Any:
    """torch-fidelity's class, which would unpickle a file of weights, without them."""
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    return _Weightless("inception-v3-compat", ["2048"], feature_extractor_weights_path=nothing)


class _Weightless(FeatureExtractorInceptionV3):  # type: ignore[misc]
    def load_state_dict(self, *_: Any) -> None:
        """Keep the weights that it starts with."""


def _standardised(shape: torch.Size, draw: torch.Generator) -> Tensor:
    """Convolution weights [O, I, H, W] with sum 0 and norm RELU_GAIN in each filter."""
    weight = torch.randn(shape, generator=draw).flatten(1)
    weight -= weight.mean(dim=1, keepdim=True)
    return F.normalize(weight, dim=1).mul(RELU_GAIN).view(shape)


def _noise(draw: torch.Generator) -> Tensor:
    """uint8 [CALIBRATION_IMAGES, 3, 32, 32]: colour noise, as strong at every scale from the pixel to the image."""
    scales = [torch.randn(CALIBRATION_IMAGES, 3, side, side, generator=draw) for side in (1, 2, 4, 8, 16, 32)]
    total = torch.stack([F.interpolate(each, (32, 32), mode="bilinear") for each in scales]).sum(dim=0)
    return (128 + 64 / sqrt(len(scales)) * total).clamp(0, 255).to(torch.uint8)


def _calibrate(model: nn.Module, images: Tensor) -> None:
    """Let every batch norm keep the mean and variance that these images give it."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.inference_mode():
        model(images)
    for norm in norms:
        norm.eval()


def _folded(model: Any) -> Any:
    """The network with each batch norm made part of the convolution before it."""
    for block in model.modules():
        if isinstance(block, BasicConv2d):
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
    return model
