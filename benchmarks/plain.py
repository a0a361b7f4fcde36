"""The training loop that public examples write, and each change to it that is said to be faster.

With no switch set it is what a reader of such examples would write: separate
passes and backward calls, the critic not frozen in the generator's step,
layers, Adam and memory format as PyTorch has them, losses read at each step,
the average in a Python loop.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks.pictures import IMAGE_SIZE
from benchmarks.stock import use_stock_layers
from ganlib.config import GanOptions, RunConfig
from ganlib.networks.base import Critic, Generator
from ganlib.schedules import value_at
from ganlib.training.state import TrainState

EMA_DECAY = 0.999
NetworkT = TypeVar("NetworkT", Generator, Critic)


@dataclass(frozen=True)
class Switches:
    """Changes to the plain loop.

    `joint`: real and generated images in one critic pass, where their logits
    are independent, and one backward call. `fresh`: the generator's step makes
    its own images. `layers`: our convolutions and spectral norms. `bare`: the
    networks' arithmetic alone, neither logging nor average.
    """

    channels_last: bool = False
    fused: bool = False
    freeze: bool = False
    joint: bool = False
    compile: bool = False
    bf16: bool = False
    fresh: bool = False
    layers: bool = False
    bare: bool = False

    @classmethod
    def named(cls, names: str) -> "Switches":
        """From names joined by `+`; an empty text sets none."""
        wanted = set(names.split("+")) - {""}
        known = {field.name for field in fields(cls)}
        assert wanted <= known, f"{names}: expected names of {sorted(known)}"
        return cls(**dict.fromkeys(wanted, True))


class PlainLoop:
    """Copies of a state's networks, trained on batches [N, C, H, W] in [-1, 1] on its device."""

    def __init__(
        self, start: TrainState, config: RunConfig, batches: Iterator[Tensor], switches: Switches, *, fresh: bool
    ) -> None:
        self.switches = switches
        assert isinstance(config.loss, GanOptions)
        self.loss = config.loss
        self.total_images = config.train.total_images
        self.batches = batches
        self.fresh = fresh or switches.fresh
        self.device = start.sums.device
        self.layout = torch.channels_last if switches.channels_last else torch.contiguous_format
        self.generator = self._copy(start.generator)
        self.critic = self._copy(start.critic)
        self.average = deepcopy(self.generator)
        self.generator_optimizer = self._adam(self.generator, config)
        self.critic_optimizer = self._adam(self.critic, config)
        self.losses: list[tuple[float, float]] = []
        if switches.compile:
            self.generator.compile()
            self.critic.compile()

    def run(self, iterations: int) -> None:
        """So many iterations, each with its own batch."""
        for _ in range(iterations):
            real = next(self.batches)
            self.step(real, self._noise(len(real)), self._noise(len(real)) if self.fresh else None)

    def step(self, real: Tensor, noise: Tensor, fresh_noise: Tensor | None) -> None:
        """One iteration; without `fresh_noise` the generated images serve both networks."""
        if self.switches.channels_last:
            real = real.to(memory_format=torch.channels_last)
        critic_loss, fake = self._critic_step(real, noise, keep=fresh_noise is None)
        generator_loss = self._generator_step(real, fake if fresh_noise is None else None, fresh_noise)
        if not self.switches.bare:
            self._average()
            self.losses.append((critic_loss.item(), generator_loss.item()))

    def _critic_step(self, real: Tensor, noise: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        self.critic_optimizer.zero_grad()
        with self._autocast(), torch.set_grad_enabled(keep):
            fake = self.generator(noise, None)
        if self.switches.joint and not self.critic.couples_samples:
            loss = self._joint_backward(real, fake.detach())
        elif self.loss.adversarial == "relativistic":
            loss = self._relativistic_backward(real, fake.detach())
        else:
            loss = self._separate_backward(real, fake.detach())
        self.critic_optimizer.step()
        return loss.detach(), fake

    def _generator_step(self, real: Tensor, fake: Tensor | None, noise: Tensor | None) -> Tensor:
        self.generator_optimizer.zero_grad()
        if self.switches.freeze:
            self.critic.requires_grad_(False)
        with self._autocast():
            if fake is None:
                assert noise is not None
                fake = self.generator(noise, None)
            logits = self.critic(fake, None)
            if self.loss.adversarial == "relativistic":
                with torch.set_grad_enabled(not self.switches.freeze):
                    real_logits = self.critic(real, None)
                loss = F.softplus(real_logits - logits).mean()
            else:
                loss = _generator_term(self.loss, logits)
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()
        if self.switches.freeze:
            self.critic.requires_grad_(True)
        return loss.detach()

    def _separate_backward(self, real: Tensor, fake: Tensor) -> Tensor:
        with self._autocast():
            real_loss = _critic_term(self.loss, self.critic(real, None), real=True)
        if not self.switches.joint:
            real_loss.backward()  # type: ignore[no-untyped-call]
        with self._autocast():
            fake_loss = _critic_term(self.loss, self.critic(fake, None), real=False)
        rest: Tensor = real_loss + fake_loss if self.switches.joint else fake_loss
        rest.backward()  # type: ignore[no-untyped-call]
        return real_loss.detach() + fake_loss.detach()

    def _relativistic_backward(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.detach().requires_grad_(), fake.requires_grad_()
        with self._autocast():
            # A compiled critic cannot be differentiated twice; `forward` is never compiled.
            real_logits, fake_logits = self.critic.forward(real, None), self.critic.forward(fake, None)
            loss = F.softplus(fake_logits - real_logits).mean()
        r1, r2 = _squared_gradients(real_logits, real), _squared_gradients(fake_logits, fake)
        loss = loss + self._half_gamma() * (r1 + r2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def _joint_backward(self, real: Tensor, fake: Tensor) -> Tensor:
        gamma = self._half_gamma()
        images = torch.cat([real, fake]).requires_grad_(gamma > 0)
        with self._autocast():
            logits = (self.critic.forward if gamma > 0 else self.critic)(images, None)
            real_logits, fake_logits = logits.chunk(2)
            if self.loss.adversarial == "relativistic":
                loss = F.softplus(fake_logits - real_logits).mean()
            else:
                loss = _critic_term(self.loss, real_logits, real=True) + _critic_term(
                    self.loss, fake_logits, real=False
                )
        if gamma > 0:
            loss = loss + 2 * gamma * _squared_gradients(logits, images).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    @torch.no_grad()
    def _average(self) -> None:
        for weight, newest in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            weight.mul_(EMA_DECAY).add_(newest, alpha=1 - EMA_DECAY)
        for buffer, current in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            buffer.copy_(current)

    def _half_gamma(self) -> float:
        return value_at(self.loss.r1.weight, 0, self.total_images) / 2

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, self.generator.latent_dim, device=self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.switches.bf16)

    def _copy(self, network: NetworkT) -> NetworkT:
        copy = deepcopy(network).to(memory_format=self.layout)
        if not self.switches.layers:
            use_stock_layers(copy)
        return copy

    def _adam(self, network: nn.Module, config: RunConfig) -> torch.optim.Adam:
        options = config.train.critic_optimizer
        return torch.optim.Adam(
            network.parameters(),
            lr=value_at(options.learning_rate, 0, self.total_images),
            betas=(value_at(options.beta1, 0, self.total_images), value_at(options.beta2, 0, self.total_images)),
            fused=True if self.switches.fused else None,
        )


def folder_batches(folder: Path, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Endless batches as public examples read them: files decoded and transformed one by one with PIL."""
    from torchvision import datasets, transforms  # takes seconds, and nothing else here needs it

    transform = transforms.Compose(
        [
            transforms.Resize(IMAGE_SIZE),
            transforms.CenterCrop(IMAGE_SIZE),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    loader = DataLoader(datasets.ImageFolder(str(folder), transform), batch_size, shuffle=True, drop_last=True)
    while True:
        for images, _labels in loader:
            yield images.to(device)


def memory_batches(pixels: Tensor, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Endless batches of uint8 images [N, C, H, W] that lie in the device's memory."""
    pixels = pixels.to(device)
    while True:
        chosen = torch.randint(len(pixels), (batch_size,), device=device)
        yield pixels[chosen].float() / 127.5 - 1


def _critic_term(loss: GanOptions, logits: Tensor, *, real: bool) -> Tensor:
    if loss.adversarial == "hinge":
        return F.relu(1 - logits if real else 1 + logits).mean()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def _generator_term(loss: GanOptions, logits: Tensor) -> Tensor:
    if loss.adversarial == "hinge":
        return -logits.mean()
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def _squared_gradients(logits: Tensor, images: Tensor) -> Tensor:
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.square().sum(dim=(1, 2, 3))
