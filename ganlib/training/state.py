"""Everything that a training is, between two steps."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.config import ImageSpec, RunConfig, TrainOptions
from ganlib.networks import build_critic, build_generator
from ganlib.networks.base import Critic, Generator
from ganlib.training.device import MEMORY_FORMATS

LOSS_NAMES = ("loss/critic", "loss/generator", "loss/penalty", "logits/real", "logits/fake")


@dataclass
class Snapshot:
    """EMA weights on the CPU and their score (lower is better) when `seen_images` had been shown."""

    seen_images: int
    score: float
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """Networks, optimisers, counters, and what has been measured so far.

    `sums` holds the running sums of the figures named in LOSS_NAMES over the
    `summed_steps` steps since the last log point, on the device, so that no
    step waits for it.
    """

    generator: Generator
    critic: Critic
    ema: Generator
    generator_optimizer: torch.optim.Optimizer
    critic_optimizer: torch.optim.Optimizer
    sums: Tensor
    summed_steps: int = 0
    seen_images: int = 0
    best: Snapshot | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain values."""
        best = self.best and {
            "seen_images": self.best.seen_images,
            "score": self.best.score,
            "weights": self.best.weights,
        }
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "ema": self.ema.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "sums": self.sums,
            "summed_steps": self.summed_steps,
            "seen_images": self.seen_images,
            "best": best,
            "history": self.history,
        }

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Become the state that `state_dict` described."""
        for name in ("generator", "critic", "ema", "generator_optimizer", "critic_optimizer"):
            getattr(self, name).load_state_dict(values[name])
        self.sums = values["sums"].to(self.sums.device)
        self.summed_steps = values["summed_steps"]
        self.seen_images = values["seen_images"]
        self.best = Snapshot(**values["best"]) if values["best"] else None
        self.history = values["history"]


def initial_state(config: RunConfig, image: ImageSpec, device: torch.device) -> TrainState:
    """Freshly initialised networks and optimisers, a function of `train.seed`."""
    torch.manual_seed(config.train.seed)
    layout = MEMORY_FORMATS[config.train.memory_format]
    generator = build_generator(config.network, image).to(device).to(memory_format=layout)
    critic = build_critic(config.network, image).to(device).to(memory_format=layout)
    options = config.train
    return TrainState(
        generator=generator,
        critic=critic,
        ema=copy.deepcopy(generator).requires_grad_(False).eval(),
        generator_optimizer=_adam(generator, options.generator_learning_rate, options),
        critic_optimizer=_adam(critic, options.critic_learning_rate, options),
        sums=torch.zeros(len(LOSS_NAMES), dtype=torch.float64, device=device),
    )


def _adam(network: nn.Module, learning_rate: float, options: TrainOptions) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(options.beta1, options.beta2), fused=True)
