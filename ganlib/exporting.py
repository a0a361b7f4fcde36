"""A generator as one file that runs without ganlib: ONNX, or a program of `torch.export`.

Inputs: `latents` [N, Z] of standard normal numbers, `truncation`, a number by which they are scaled, and, of a
conditional generator, `labels` [N], class indices. Output: `images` [N, C, H, W] in [-1, 1]. N may be any number.
"""

import json
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ganlib.errors import UserError
from ganlib.networks.base import Generator
from ganlib.packaging import ImageGenerator
from ganlib.sampling import balanced_labels, seeded_latents

Format = Literal["onnx", "torch"]
CHECKED_IMAGES = 5
# Of the largest value: what rounding in another order comes to.
MOST_APART = 1e-4
_MOST_IMAGES = 1 << 16


class _Scaled(nn.Module):
    """The network that is exported."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor, truncation: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] of latents [N, Z]."""
        images: Tensor = self.generator(latents * truncation, labels)
        return images


def export(generator: ImageGenerator, path: Path, kind: Format, metadata: dict[str, str]) -> float:
    """Write a generator's network, run the file, and compare.

    Args:
        generator: no translator.
        path: of the file, which appears whole or not at all.
        kind: `onnx` or `torch`.
        metadata: is written into the file.

    Returns:
        The largest difference to the generator's own images, over their largest value.

    Raises:
        UserError: a translator, a missing package, or a file that gives other images.
    """
    generator.check_draws("export")
    network = _Scaled(generator.generator).eval()
    inputs = _inputs(generator, 2, seed=0)
    images = torch.export.Dim("images", min=1, max=_MOST_IMAGES)
    shapes = {name: {} if name == "truncation" else {0: images} for name in inputs}
    program = torch.export.export(network, tuple(inputs.values()), dynamic_shapes=shapes)
    asked = _inputs(generator, CHECKED_IMAGES, seed=1)
    with torch.inference_mode():
        expected = network(*asked.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        if kind == "torch":
            torch.export.save(program, partial, extra_files={"metadata.json": json.dumps(metadata)})
            found = torch.export.load(partial).module()(*asked.values())
        else:
            _write_onnx(program, partial, list(inputs), metadata)
            found = _run_onnx(partial, asked)
        apart = float((found - expected).abs().max() / expected.abs().max())
        if not apart <= MOST_APART:
            raise UserError(f"export: the file's images are {apart:.1e} apart, expected at most {MOST_APART:.0e}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return apart


def _inputs(generator: ImageGenerator, count: int, *, seed: int) -> dict[str, Tensor]:
    inputs = {
        "latents": seeded_latents(count, generator.network.latent_dim, seed),
        "truncation": torch.tensor(0.8 if seed else 1.0),
    }
    if generator.conditional:
        inputs["labels"] = balanced_labels(count, generator.image.num_classes)
    return inputs


def _write_onnx(program: torch.export.ExportedProgram, path: Path, names: list[str], metadata: dict[str, str]) -> None:
    try:
        import onnxscript  # noqa: F401  # what torch.onnx needs
    except ImportError:
        raise UserError("export: onnxscript is not installed; pip install 'ganlib[export]'") from None
    made = torch.onnx.export(
        program, dynamo=True, input_names=names, output_names=["images"], external_data=False, verbose=False
    )
    assert made is not None
    made.model.metadata_props.update(metadata)
    made.save(path)


def _run_onnx(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        raise UserError("export: onnxruntime is not installed; pip install 'ganlib[export]'") from None
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (images,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return torch.from_numpy(images)
