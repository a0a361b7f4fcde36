"""DINOv2 from a file of the published layout, against the formulas of its paper written out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from ganlib.config import FEATURES, PretrainedName
from ganlib.errors import UserError
from ganlib.metrics.extractors import dinov2
from tests.extractors import digest_of, load_weights, pictures

WIDTH, HEADS, BLOCKS = 24, 3, 2
PLAIN, GATED = "dinov2-vit-s-14", "dinov2-vit-g-14"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dinov2.SIZES, PLAIN, dinov2.Size(WIDTH, BLOCKS, HEADS))
    monkeypatch.setitem(dinov2.SIZES, GATED, dinov2.Size(WIDTH, BLOCKS, HEADS, gated=True))


def weights_of(name: str) -> dict[str, Tensor]:
    """Random ones under the published names, with positions for images of 518 pixels."""
    draw = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + 37 * 37, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    layers = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
    if name == GATED:
        layers |= {"mlp.w12": (2 * 64, WIDTH), "mlp.w3": (WIDTH, 64)}
    else:
        layers |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
    for block in range(BLOCKS):
        for layer, shape in layers.items():
            shapes |= {f"blocks.{block}.{layer}.weight": shape, f"blocks.{block}.{layer}.bias": shape[:1]}
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"):
            shapes[f"blocks.{block}.{part}"] = (WIDTH,)
    return {key: torch.randn(shape, generator=draw) / shape[-1] ** 0.5 for key, shape in shapes.items()}


def class_token(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Of uint8 RGB [N, 3, H, W], by the formulas, [N, WIDTH]."""
    levels = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(224, 224), align_corners=False) / 255
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    cut = ((levels - mean) / deviation).unfold(2, 14, 14).unfold(3, 14, 14)
    flat = cut.permute(0, 2, 3, 1, 4, 5).reshape(len(images), 256, -1)
    patches = flat @ weights["patch_embed.proj.weight"].flatten(1).T + weights["patch_embed.proj.bias"]
    grid = weights["pos_embed"][:, 1:].view(1, 37, 37, WIDTH).permute(0, 3, 1, 2)
    places = F.interpolate(grid, mode="bicubic", scale_factor=16.1 / 37).permute(0, 2, 3, 1).reshape(1, 256, WIDTH)
    token = (weights["cls_token"] + weights["pos_embed"][:, :1]).expand(len(images), 1, WIDTH)
    x = torch.cat([token, patches + places], dim=1)

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        scaled = centred / (x.var(dim=-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    for block in range(BLOCKS):
        at = f"blocks.{block}"
        queries, keys, values = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in linear(norm(x, f"{at}.norm1"), f"{at}.attn.qkv").chunk(3, dim=-1)
        )
        attention = (queries @ keys.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1) @ values
        seen = attention.transpose(1, 2).flatten(2)
        x = x + linear(seen, f"{at}.attn.proj") * weights[f"{at}.ls1.gamma"]
        y = norm(x, f"{at}.norm2")
        if f"{at}.mlp.w12.weight" in weights:
            gate, value = linear(y, f"{at}.mlp.w12").chunk(2, dim=-1)
            y = linear(gate * gate.sigmoid() * value, f"{at}.mlp.w3")
        else:
            y = linear(F.gelu(linear(y, f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
        x = x + y * weights[f"{at}.ls2.gamma"]
    return norm(x, "norm")[:, 0]


@pytest.mark.parametrize("name", [PLAIN, GATED])
@pytest.mark.parametrize("size", [28, 256])
def test_the_class_token_is_that_of_the_formulas(name: PretrainedName, size: int, tmp_path: Path) -> None:
    weights = weights_of(name)
    path = tmp_path / "weights.pth"
    torch.save(weights, path)
    extractor = load_weights(name, path, digest_of(path), tmp_path)
    images = pictures(3, size, 3)
    expected = class_token(weights, torch.from_numpy(images).permute(0, 3, 1, 2))
    found = extractor.extract(images)
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-4)
    assert found.values.std(dim=0).mean() > 0.001
    assert found.logits.shape == (3, 0)


def test_sizes_are_those_that_the_parameters_know() -> None:
    big = {"dinov2-vit-b-14": 768, "dinov2-vit-l-14": 1024}
    assert {name: dinov2.SIZES[name].dimensions for name in big} == big == {name: FEATURES[name] for name in big}


def test_grey_images_and_such_between_levels(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights_of(PLAIN), path)
    extractor = load_weights(PLAIN, path, digest_of(path), tmp_path)
    grey = pictures(2, 28, 1)
    values = extractor.extract(grey).values
    assert torch.equal(values, extractor.extract(np.repeat(grey, 3, axis=3)).values)
    floats = torch.from_numpy(grey).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    assert torch.equal(extractor.see(floats), values)
    assert "torchvision" in extractor.identity


def test_weights_in_half_precision_are_computed_with_in_full(tmp_path: Path) -> None:
    halves = {name: part.half() for name, part in weights_of(PLAIN).items()}
    path = tmp_path / "weights.pth"
    torch.save(halves, path)
    images = pictures(2, 28, 3)
    found = load_weights(PLAIN, path, digest_of(path), tmp_path).extract(images).values
    rounded = {name: part.float() for name, part in halves.items()}
    expected = class_token(rounded, torch.from_numpy(images).permute(0, 3, 1, 2))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights_of(PLAIN), path)
    with pytest.raises(UserError, match=f"no weights of {GATED} as https://"):
        load_weights(GATED, path, digest_of(path), tmp_path)
    torch.save({name: part[..., :-1] for name, part in weights_of(PLAIN).items()}, path)
    with pytest.raises(UserError, match=f"no weights of {PLAIN}"):
        load_weights(PLAIN, path, digest_of(path), tmp_path)
