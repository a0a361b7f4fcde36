"""A generator that can be sampled with nothing but its own two files; what it learned with lies beside them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ganlib.config import ImageSpec, InputsOptions, NetworkOptions
from ganlib.errors import UserError
from ganlib.latents import spherical
from ganlib.networks import ManyWays, build_critic, build_encoder, build_generator
from ganlib.networks.base import Critic, Generator
from ganlib.networks.encoder import Encoder
from ganlib.sampling import Images, as_labels, balanced_labels, render, render_rows, seeded_latents
from ganlib.tensor_files import save_tensors
from ganlib.weightless import weightless

FORMAT_VERSION = 4
WEIGHTS = "generator.safetensors"
DESCRIPTION = "generator.json"
CRITIC_WEIGHTS = "critic.safetensors"
ENCODER_WEIGHTS = "encoder.safetensors"
_NETWORK: TypeAdapter[NetworkOptions] = TypeAdapter(NetworkOptions)
_INPUTS: TypeAdapter[InputsOptions | None] = TypeAdapter(InputsOptions | None)


@dataclass(frozen=True)
class ImageGenerator:
    """A trained generator with what is needed to use it.

    `provenance` says what it was made from: digests, score, and always `seen_images`. `inputs` is what a translator
    was given while it learned; None of a generator that is given no images.
    """

    generator: Generator
    network: NetworkOptions
    image: ImageSpec
    provenance: Mapping[str, Any]
    inputs: InputsOptions | None = None

    @property
    def conditional(self) -> bool:
        """Whether it is asked for classes."""
        return self.network.conditional

    def sample(
        self, *, seed: int, count: int | None = None, labels: Sequence[int] | None = None, truncation: float = 1.0
    ) -> Images:
        """Generate uint8 images [N, H, W, C]; image i depends on the seed, i, its label and the truncation alone.

        Args:
            seed: the same seed gives the same images.
            count: how many; classes take turns when the generator is conditional.
            labels: one class index an image instead of `count`; conditional generators only.
            truncation: as in `latents`.

        Raises:
            UserError: neither or both of `count` and `labels`, labels out of range or not wanted; a translator.
        """
        self.check_draws("sample")
        if (count is None) == (labels is None):
            raise UserError("sample: give either count or labels")
        wanted = len(labels) if labels is not None else (count or 0)
        if wanted < 1:
            raise UserError(f"sample: found {wanted} images, expected at least 1")
        latents = self.latents(wanted, seed=seed, truncation=truncation)
        return self.draw(latents, self._label_tensor(wanted, labels))

    def draw(self, latents: Tensor, labels: Tensor | None) -> Images:
        """What the generator makes of latents [N, Z] and class indices [N], each row by itself: uint8 [N, H, W, C]."""
        return render_rows(self.generator, latents, labels)

    def latents(
        self,
        count: int,
        *,
        seed: int,
        truncation: float = 1.0,
        toward_seed: int | None = None,
        mix: float | None = None,
        attempt: int = 0,
    ) -> Tensor:
        """Latents [N, Z] that a seed stands for, or that lie between those of two.

        Args:
            count: how many; the first ones of more are those of fewer.
            seed: the same seed gives the same latents.
            truncation: psi in (0, 1], by which the latents are scaled: lower is more typical and less varied. They
                move towards their mean, 0, as StyleGAN's do (Karras et al. 2019, appendix B), and an image stays
                itself at every psi; BigGAN draws values beyond a threshold anew instead (Brock et al. 2019).
            toward_seed: another seed, on whose arcs the latents lie; None: no other.
            mix: how far towards it, 0 to 1.
            attempt: other latents that the seeds stand for, where the first ones were refused.

        Raises:
            UserError: a truncation out of range.
        """
        if not 0 < truncation <= 1:
            raise UserError(f"truncation: found {truncation}, expected a number above 0 and at most 1")
        latents = seeded_latents(count, self.network.latent_dim, seed, attempt)
        if toward_seed is not None and toward_seed != seed:
            ends = seeded_latents(count, self.network.latent_dim, toward_seed, attempt)
            latents = spherical(latents, ends, torch.full((count,), float(mix or 0)))
        return latents * truncation  # at last: what is scaled to nothing has no direction

    def check_draws(self, task: str) -> None:
        """Refuse a task for which images have to come from latents alone.

        Raises:
            UserError: this is a translator.
        """
        if self.inputs is not None:
            raise UserError(f"{task}: this generator translates images; give it some (gan translate IMAGE -o DIR)")

    def translate(self, images: Tensor, *, seed: int, batch_size: int = 256) -> Images:
        """Make of images [N, C, H, W] in [-1, 1], as the translator was given, uint8 images [N, H, W, C].

        Args:
            images: whose sides the network can halve as often as it does.
            seed: of the latents; another seed gives other images.
            batch_size: images per forward pass; bounds memory.

        Raises:
            UserError: a generator that is given no images.
        """
        if self.inputs is None:
            raise UserError("translate: this generator is given no images; draw from it (gan sample)")
        latents = seeded_latents(len(images), self.network.latent_dim, seed)
        return render(self.generator, latents, images, batch_size=batch_size)

    def way(self, index: int) -> "ImageGenerator":
        """Of a translator into several kinds the one into a kind, by its place in `kinds_of`."""
        if isinstance(self.generator, ManyWays):
            return replace(self, generator=self.generator.way(index))
        assert index == 0, "it makes one kind only"
        return self

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

    def save(self, folder: Path, *, critic: Critic | None = None, encoder: Encoder | None = None) -> None:
        """Write the two files, and the weights of critic and encoder where there are any; equal ones give equal bytes.

        The description holds the SHA-256 of their files, so that the
        generator's content address covers them too. Nothing but `load_critic`
        and `load_encoder` reads those files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(_weights(self.generator), folder / WEIGHTS)
        description = {
            "critic_sha256": _save_beside(critic, folder / CRITIC_WEIGHTS),
            "encoder_sha256": _save_beside(encoder, folder / ENCODER_WEIGHTS),
            "format_version": FORMAT_VERSION,
            "network": self.network.model_dump(mode="json"),
            "image": self.image.model_dump(mode="json"),
            "inputs": None if self.inputs is None else self.inputs.model_dump(mode="json"),
            "provenance": dict(self.provenance),
        }
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "ImageGenerator":
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing or damaged, or of another format version.
        """
        made = read_description(folder)
        with _damage_told(folder), weightless():
            generator = build_generator(made.network, made.image)
        _load_weights(generator, folder, WEIGHTS)
        generator.requires_grad_(False).eval().to(device)
        return cls(generator, made.network, made.image, made.provenance, made.inputs)


@dataclass(frozen=True)
class Description:
    """What a folder says about its generator; a SHA-256 is None where no such network lies beside it."""

    network: NetworkOptions
    image: ImageSpec
    inputs: InputsOptions | None
    provenance: Mapping[str, Any]
    critic_sha256: str | None
    encoder_sha256: str | None


def read_description(folder: Path) -> Description:
    """Read what `ImageGenerator.save` wrote beside the weights.

    Raises:
        UserError: the file is missing or damaged, or of another format version.
    """
    with _damage_told(folder):
        values = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        found = values["format_version"]
        if found != FORMAT_VERSION:
            raise UserError(f"{folder / DESCRIPTION}: format {found}, expected {FORMAT_VERSION}; train it again")
        provenance = dict(values["provenance"])
        int(provenance["seen_images"])
        return Description(
            network=_NETWORK.validate_python(values["network"]),
            image=ImageSpec.model_validate(values["image"]),
            inputs=_INPUTS.validate_python(values["inputs"]),
            provenance=provenance,
            critic_sha256=values["critic_sha256"],
            encoder_sha256=values["encoder_sha256"],
        )


def load_critic(folder: Path, device: str = "cpu") -> Critic:
    """The critic that `ImageGenerator.save` was given, on a device.

    Raises:
        UserError: none was saved, its file is missing, damaged or not the one that was saved.
    """
    made = read_description(folder)
    if made.critic_sha256 is None and made.encoder_sha256 is not None:
        raise UserError(f"{folder}: holds the decoder of a variational autoencoder, which has no critic")
    if made.critic_sha256 is None:
        raise UserError(f"{folder}: holds a generator without its critic; choose one that was saved with it")
    with _damage_told(folder), weightless():
        critic = build_critic(made.network, made.image)
    _load_beside(critic, folder, CRITIC_WEIGHTS, made.critic_sha256)
    return critic.to(device)


def load_encoder(folder: Path, device: str = "cpu") -> Encoder | None:
    """The encoder that `ImageGenerator.save` was given, in evaluation mode on a device; None where it was given none.

    Raises:
        UserError: its file is missing, damaged or not the one that was saved.
    """
    made = read_description(folder)
    if made.encoder_sha256 is None:
        return None
    with _damage_told(folder), weightless():
        encoder = build_encoder(made.network, made.image)
    _load_beside(encoder, folder, ENCODER_WEIGHTS, made.encoder_sha256)
    return encoder.requires_grad_(False).eval().to(device)


def generator_sha256(folder: Path) -> str:
    """The content address of a saved generator: SHA-256 over both files.

    Raises:
        UserError: a file is missing.
    """
    digest = hashlib.sha256()
    for name in (DESCRIPTION, WEIGHTS):
        try:
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
        except FileNotFoundError:
            raise UserError(f"{folder / name}: missing; run the train stage") from None
    return digest.hexdigest()


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """Whatever a missing or damaged file leads to, as one line; what the machine lacks is no damage."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{error.filename or folder}: missing; restore it, or run the train stage") from None
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: damaged generator ({reason}); restore it or train it again") from None


def _save_beside(network: nn.Module | None, path: Path) -> str | None:
    """Write the weights of a network and give the SHA-256 of the file; without one, see that there is none."""
    if network is None:
        path.unlink(missing_ok=True)
        return None
    save_tensors(_weights(network), path)
    return _sha256(path)


def _load_beside(network: nn.Module, folder: Path, name: str, sha256: str) -> None:
    with _damage_told(folder):
        found = _sha256(folder / name)
    if found != sha256:
        raise UserError(
            f"{folder / name}: SHA-256 is {found[:16]}…, expected {sha256[:16]}… as {DESCRIPTION} has it; "
            "restore the folder or train it again"
        )
    _load_weights(network, folder, name)


def _load_weights(network: nn.Module, folder: Path, name: str) -> None:
    with _damage_told(folder):
        # Copies: in the file, tensors lie at odd addresses, at which the same sums round differently.
        weights = {key: tensor.clone() for key, tensor in load_file(folder / name).items()}
        try:
            network.load_state_dict(weights, assign=True)
        except RuntimeError as error:
            raise ValueError(str(error)) from None


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
