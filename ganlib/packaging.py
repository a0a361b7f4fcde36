"""A generator that can be sampled with nothing but its own two files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganlib.config import ImageSpec, NetworkOptions
from ganlib.errors import UserError
from ganlib.networks import build_generator
from ganlib.networks.base import Generator
from ganlib.sampling import Images, as_labels, balanced_labels, render, seeded_latents

FORMAT_VERSION = 1
WEIGHTS = "generator.safetensors"
DESCRIPTION = "generator.json"
_NETWORK: TypeAdapter[NetworkOptions] = TypeAdapter(NetworkOptions)


@dataclass(frozen=True)
class ImageGenerator:
    """A trained generator with what is needed to use it.

    `provenance` says what it was made from: digests, score, and always `seen_images`.
    """

    generator: Generator
    network: NetworkOptions
    image: ImageSpec
    provenance: Mapping[str, Any]

    @property
    def conditional(self) -> bool:
        """Whether it is asked for classes."""
        return self.network.conditional

    def sample(
        self,
        *,
        seed: int,
        count: int | None = None,
        labels: Sequence[int] | None = None,
        truncation: float = 1.0,
        batch_size: int = 256,
    ) -> Images:
        """Generate uint8 images [N, H, W, C].

        Args:
            seed: the same seed gives the same images.
            count: how many; classes take turns when the generator is conditional.
            labels: one class index an image instead of `count`; conditional generators only.
            truncation: latents are scaled by this factor in (0, 1]: lower is more typical and less varied.
            batch_size: images per forward pass; bounds memory.

        Raises:
            UserError: neither or both of `count` and `labels`, labels out of range or not wanted.
        """
        if (count is None) == (labels is None):
            raise UserError("sample: give either count or labels")
        if not 0 < truncation <= 1:
            raise UserError(f"truncation: found {truncation}, expected a number above 0 and at most 1")
        wanted = len(labels) if labels is not None else (count or 0)
        if wanted < 1:
            raise UserError(f"sample: found {wanted} images, expected at least 1")
        latents = seeded_latents(wanted, self.network.latent_dim, seed) * truncation
        return render(self.generator, latents, self._label_tensor(wanted, labels), batch_size=batch_size)

    def _label_tensor(self, count: int, labels: Sequence[int] | None) -> Tensor | None:
        if not self.conditional:
            if labels is not None:
                raise UserError("labels: this generator is unconditional; ask for a count instead")
            return None
        if labels is None:
            return balanced_labels(count, self.image.num_classes)
        beyond = [label for label in labels if not 0 <= label < self.image.num_classes]
        if beyond:
            raise UserError(f"labels: found {beyond[0]}, expected 0 to {self.image.num_classes - 1}")
        return as_labels(labels)

    def save(self, folder: Path) -> None:
        """Write the two files; the same generator gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.generator.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        description = {
            "format_version": FORMAT_VERSION,
            "network": self.network.model_dump(mode="json"),
            "image": self.image.model_dump(mode="json"),
            "provenance": dict(self.provenance),
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "ImageGenerator":
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing or damaged, or of another format version.
        """
        try:
            description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            found = description["format_version"]
            if found != FORMAT_VERSION:
                raise UserError(f"{folder / DESCRIPTION}: format {found}, expected {FORMAT_VERSION}; train it again")
            network = _NETWORK.validate_python(description["network"])
            image = ImageSpec.model_validate(description["image"])
            provenance = dict(description["provenance"])
            int(provenance["seen_images"])
            weights = load_file(folder / WEIGHTS)
            with torch.device("meta"):
                generator = build_generator(network, image)
            generator.load_state_dict(weights, assign=True)
        except FileNotFoundError as error:
            raise UserError(f"{error.filename or folder}: missing; expected {WEIGHTS} and {DESCRIPTION}") from None
        except (OSError, ValueError, KeyError, TypeError, ValidationError, SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{folder}: damaged generator ({reason}); restore it or train it again") from None
        generator.requires_grad_(False).eval().to(device)
        return cls(generator=generator, network=network, image=image, provenance=provenance)


def generator_sha256(folder: Path) -> str:
    """The content address of a saved generator: SHA-256 over both files.

    Raises:
        UserError: a file is missing.
    """
    digest = hashlib.sha256()
    for name in (DESCRIPTION, WEIGHTS):
        try:
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
        except OSError:
            raise UserError(f"{folder / name}: cannot be read; run the train stage") from None
    return digest.hexdigest()
