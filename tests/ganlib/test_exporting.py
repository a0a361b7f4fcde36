"""Exported files give the generator's images in other runtimes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib import exporting
from ganlib.config import ImageSpec
from ganlib.errors import UserError
from ganlib.exporting import MOST_APART, export
from ganlib.networks import build_generator
from ganlib.packaging import ImageGenerator
from tests.configs import NETWORKS, TRANSLATORS, tiny_config

METADATA = {"generator_sha256": "ab"}


def make(network: str, *, conditional: bool = True) -> ImageGenerator:
    family = {} if network == "dcgan" else {"network": network}
    config = tiny_config(family | ({} if conditional else {"network.conditional": False}))
    classes = ("ant", "bee", "cat") if config.network.conditional else ()
    image = ImageSpec(size=config.data.image_size, channels=3, classes=classes)
    torch.manual_seed(0)
    built = build_generator(config.network, image).eval().requires_grad_(False)
    return ImageGenerator(built, config.network, image, {"seen_images": 1})


# Between them: plain and transposed convolutions, and kernels that are averages of weights.
USUAL = ("dcgan", "resnet")


@pytest.mark.parametrize(
    "network",
    [
        *USUAL,
        *(pytest.param(name, marks=pytest.mark.thorough) for name in NETWORKS if name not in {*TRANSLATORS, *USUAL}),
    ],
)
def test_onnx_of_each_family(network: str, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    generator = make(network)
    assert export(generator, tmp_path / "made.onnx", "onnx", METADATA) <= MOST_APART
    session = onnxruntime.InferenceSession(str(tmp_path / "made.onnx"), providers=["CPUExecutionProvider"])
    latents = generator.latents(9, seed=4)
    inputs = {"latents": latents.numpy(), "truncation": np.array(0.5, dtype=np.float32)}
    labels = torch.tensor([2, 0, 1, 1, 1, 2, 0, 0, 2]) if generator.conditional else None
    if labels is not None:
        inputs["labels"] = labels.numpy()
    (images,) = session.run(None, inputs)
    expected = generator.generator(latents * 0.5, labels).numpy()
    np.testing.assert_allclose(images, expected, atol=MOST_APART * np.abs(expected).max())
    properties = onnx.load(str(tmp_path / "made.onnx")).metadata_props
    assert {each.key: each.value for each in properties}["generator_sha256"] == "ab"
    assert [path.name for path in tmp_path.iterdir()] == ["made.onnx"]


@pytest.mark.parametrize("conditional", [True, False])
def test_a_program_of_torch_export(conditional: bool, tmp_path: Path) -> None:
    generator = make("dcgan", conditional=conditional)
    assert export(generator, tmp_path / "made.pt2", "torch", METADATA) <= MOST_APART
    extra = {"metadata.json": ""}
    program = torch.export.load(tmp_path / "made.pt2", extra_files=extra).module()
    latents, labels = generator.latents(9, seed=4), torch.arange(9) % 3
    given = (latents, torch.tensor(1.0), *((labels,) if conditional else ()))
    torch.testing.assert_close(program(*given), generator.generator(latents, labels if conditional else None))
    assert "ab" in str(extra["metadata.json"])


def test_a_file_that_gives_other_images_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST_APART", -1.0)
    (tmp_path / "made.pt2").write_text("before")
    with pytest.raises(UserError, match=r"images are .* apart"):
        export(make("mlp"), tmp_path / "made.pt2", "torch", METADATA)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("made.pt2", "before")]
