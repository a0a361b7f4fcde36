"""Latents as a file, to make their images again and to calculate with them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images
from ganlib.tensor_files import save_tensors

LATENTS, LABELS = "latents", "labels"
SHA256 = "generator_sha256"


@dataclass(frozen=True)
class SavedLatents:
    """Latents of N images, and what a generator has to be asked for with them.

    Attributes:
        latents: float32 [N, Z].
        labels: int64 [N]; None of an unconditional generator.
        generator_sha256: the content address of the generator that they are of; None where the file has none.
    """

    latents: Tensor
    labels: Tensor | None
    generator_sha256: str | None

    def save(self, path: Path) -> None:
        """Write them as safetensors, aside first; equal ones give equal bytes."""
        tensors = {LATENTS: self.latents} if self.labels is None else {LATENTS: self.latents, LABELS: self.labels}
        metadata = None if self.generator_sha256 is None else {SHA256: self.generator_sha256}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            save_tensors(tensors, partial, metadata)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "SavedLatents":
        """Read what `save` wrote, or any file with such tensors.

        Raises:
            UserError: no such file, damaged, or without these tensors.
        """
        if not path.is_file():
            raise UserError(f"{path}: {'not a file' if path.exists() else 'no such file'}; give a file of latents")
        try:
            with safe_open(path, framework="pt") as file:
                # Copies: in the file, tensors lie at odd addresses, at which the same sums round differently.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: no file of latents ({' '.join(str(error).split())[:100]})") from None
        latents, labels = tensors.get(LATENTS), tensors.get(LABELS)
        if latents is None or latents.ndim != 2 or not len(latents) or not latents.is_floating_point():
            raise UserError(f"{path}: expected a tensor {LATENTS} of floats [N, Z], as `gan reconstruct` writes it")
        if not bool(torch.isfinite(latents).all()):
            raise UserError(f"{path}: {LATENTS} are not finite; make the file again")
        if labels is not None and (labels.shape != latents.shape[:1] or labels.dtype != torch.int64):
            raise UserError(f"{path}: expected {LABELS} to be int64 [{len(latents)}], one for each of {LATENTS}")
        return cls(latents.float(), labels, metadata.get(SHA256))

    def check(self, generator: ImageGenerator, path: Path) -> None:
        """See that a generator takes them, read from a path.

        Raises:
            UserError: of another length, labels missing, not taken or out of range.
        """
        wanted, found = generator.network.latent_dim, self.latents.shape[1]
        if found != wanted:
            raise UserError(f"{path}: {LATENTS} have length {found}, this generator takes {wanted}")
        if generator.conditional and self.labels is None:
            raise UserError(f"{path}: has no {LABELS}, which this conditional generator needs")
        if not generator.conditional and self.labels is not None:
            raise UserError(f"{path}: has {LABELS}, which this unconditional generator does not take")
        classes = generator.image.num_classes
        if self.labels is not None and not bool(((self.labels >= 0) & (self.labels < classes)).all()):
            low, high = int(self.labels.min()), int(self.labels.max())
            raise UserError(f"{path}: {LABELS} go from {low} to {high}, expected 0 to {classes - 1}")

    def images(self, generator: ImageGenerator) -> Images:
        """What a generator that takes them makes of them, uint8 [N, H, W, C]."""
        return generator.draw(self.latents, self.labels)
