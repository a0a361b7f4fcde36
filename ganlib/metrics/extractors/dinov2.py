"""DINOv2 (Oquab et al. 2023, arXiv:2304.07193) from the published weights, without the code that comes with them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vision_transformer import VisionTransformer

from ganlib.config import PretrainedName
from ganlib.metrics.extractors.base import Extractor, Features
from ganlib.metrics.extractors.resizing import resized
from ganlib.pretrained.colours import on_white
from ganlib.pretrained.weights import reading, sha256_of
from ganlib.weightless import weightless

PATCH = 14
INPUT_SIZE = 224
# The published network adds a tenth of a patch to the size that positions are resized to.
POSITION_OFFSET = 0.1
# Of ImageNet, for levels of 0 to 1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Size:
    """Of a vision transformer; `gated`: its MLPs are SwiGLU (Shazeer 2020, arXiv:2002.05202), else plain with GELU."""

    dimensions: int
    blocks: int
    heads: int
    gated: bool = False


SIZES: dict[str, Size] = {
    "dinov2-vit-s-14": Size(384, 12, 6),
    "dinov2-vit-b-14": Size(768, 12, 12),
    "dinov2-vit-l-14": Size(1024, 24, 16),
    "dinov2-vit-g-14": Size(1536, 40, 24, gated=True),
}


class Dinov2Extractor(Extractor):
    """The class token after the last norm, as torch-fidelity takes it: of RGB, RGBA on white, or grey; no logits."""

    alpha = "on_white"
    packages = ("torchvision",)

    def __init__(self, name: PretrainedName, model: nn.Module, weights_sha256: str, device: torch.device) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.device = device
        self.pass_images = 16 if device.type == "cpu" else 64
        self.model = model.to(device)
        self.mean, self.deviation = (torch.tensor(each, device=device).view(3, 1, 1) for each in (MEAN, DEVIATION))

    def look(self, images: Tensor) -> Features:
        """Images [N, C, H, W] in [-1, 1] of any size -> features [N, D], and logits [N, 0]."""
        levels = resized((on_white(images) + 1) / 2, INPUT_SIZE)
        values = self.model((levels - self.mean) / self.deviation)
        return Features(values, values[:, :0])


def load_dinov2(name: PretrainedName, path: Path, device: torch.device) -> Dinov2Extractor:
    """With the weights in a file of the published layout.

    Raises:
        UserError: it holds others, or code.
    """
    size = SIZES[name]
    with reading(path, name):
        published = torch.load(path, map_location="cpu", weights_only=True)
        model = _network(size)
        model.load_state_dict(_renamed(published, size), assign=True)
    return Dinov2Extractor(name, model.float().eval().requires_grad_(False), sha256_of(path), device)


def _network(size: Size) -> Any:
    """Torchvision's vision transformer of the size, without memory for its weights."""
    width = size.dimensions
    with weightless():
        model = VisionTransformer(INPUT_SIZE, PATCH, size.blocks, size.heads, width, 4 * width)
        model.heads = nn.Sequential()
        if size.gated:
            for block in model.encoder.layers:
                block.mlp = _Gated(width)
    return model


class _Gated(nn.Module):
    """SwiGLU of [N, T, D]; as wide as keeps the number of weights of a plain MLP, rounded up to eights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (4 * width * 2 // 3 + 7) // 8 * 8
        self.both = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        gate, value = self.both(tokens).chunk(2, dim=-1)
        out: Tensor = self.out(F.silu(gate) * value)
        return out


def _renamed(published: dict[str, Tensor], size: Size) -> dict[str, Tensor]:
    """The published weights under torchvision's names, scales of layers made part of the layer before them."""
    kinds = ("weight", "bias")
    found = {
        "class_token": published["cls_token"],
        "encoder.pos_embedding": _positions(published["pos_embed"].float()),
        **{f"conv_proj.{kind}": published[f"patch_embed.proj.{kind}"] for kind in kinds},
        **{f"encoder.ln.{kind}": published[f"norm.{kind}"] for kind in kinds},
    }
    # Where torchvision has a layer, what it is called in the file, and by what there its output is scaled.
    mlp = ("both", "w12", "out", "w3") if size.gated else ("0", "fc1", "3", "fc2")
    layers = [
        ("ln_1.{}", "norm1", None),
        ("self_attention.in_proj_{}", "attn.qkv", None),
        ("self_attention.out_proj.{}", "attn.proj", "ls1"),
        ("ln_2.{}", "norm2", None),
        (f"mlp.{mlp[0]}.{{}}", f"mlp.{mlp[1]}", None),
        (f"mlp.{mlp[2]}.{{}}", f"mlp.{mlp[3]}", "ls2"),
    ]
    for index in range(size.blocks):
        of = partial("blocks.{}.{}".format, index)
        for ours, theirs, scale in layers:
            weight, bias = (published[of(f"{theirs}.{kind}")] for kind in kinds)
            if scale is not None:
                gamma = published[of(f"{scale}.gamma")]
                weight, bias = gamma[:, None] * weight, gamma * bias
            for kind, tensor in zip(kinds, (weight, bias), strict=True):
                found[f"encoder.layers.encoder_layer_{index}.{ours.format(kind)}"] = tensor
    return found


def _positions(published: Tensor) -> Tensor:
    """[1, 1 + P², D] of P x P patches -> [1, 1 + 16², D], resized by a bicubic filter as in the published network."""
    token, patches = published[:, :1], published[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    grid = patches.view(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (INPUT_SIZE // PATCH + POSITION_OFFSET) / side
    small = F.interpolate(grid, mode="bicubic", scale_factor=(scale, scale))
    return torch.cat([token, small.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
