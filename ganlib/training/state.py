"""Everything that a training is, between two iterations."""

import copy
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.augmentation import ProbabilityControl
from ganlib.config import ImageSpec, OptimizerOptions, RunConfig, TrainOptions
from ganlib.losses import undecided_logit
from ganlib.networks import build_critic, build_generator
from ganlib.networks.base import Critic, Generator
from ganlib.networks.spectral import SpectralNorms
from ganlib.training.distributed import ALONE, Ranks, synchronise_batch_norm
from ganlib.training.precision import MEMORY_FORMATS, loss_scaler
from ganlib.training.warm_start import frozen_parameters, warm_start

CRITIC_FIGURES = ("loss/critic", "loss/penalty", "logits/real", "logits/fake", "gradient_norm/critic")
GENERATOR_FIGURES = ("loss/generator", "gradient_norm/generator")
FIGURES = CRITIC_FIGURES + GENERATOR_FIGURES


@dataclass
class Snapshot:
    """EMA and critic weights on the CPU and their score (lower is better) when `seen_images` had been shown."""

    seen_images: int
    score: float
    generator: dict[str, Tensor]
    critic: dict[str, Tensor]


@dataclass
class Learner:
    """How one network learns: Adam, the scaler of its loss, the parameters that are not kept frozen, spectral norms."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    parameters: list[nn.Parameter]
    spectral_norms: SpectralNorms

    def freeze(self) -> None:
        """No gradients for the parameters, until `unfreeze`."""
        for each in self.parameters:
            each.requires_grad_(False)

    def unfreeze(self) -> None:
        """Gradients again."""
        for each in self.parameters:
            each.requires_grad_(True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss [], scaled where that is needed."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def configure(self, rate: Tensor, betas: tuple[float, float]) -> None:
        """Set learning rate, a [] tensor on the device, and betas of the next update."""
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = rate, betas

    def state_dict(self) -> dict[str, Any]:
        """Optimiser and scaler."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Become what `state_dict` described."""
        self.optimizer.load_state_dict(values["optimizer"])
        self.scaler.load_state_dict(values["scaler"])


@dataclass
class TrainState:
    """Networks, optimisers, controllers, counters, and what has been measured so far.

    `sums` holds the running sums of FIGURES over the `summed_iterations` since
    the last log point, on the device, so that no step waits for it.
    `rate_scale` multiplies both learning rates and falls at each of the
    `rollbacks`; `alarms` names those that sound now; `finished` is set when
    patience is out.
    """

    generator: Generator
    critic: Critic
    ema: Generator
    generator_learner: Learner
    critic_learner: Learner
    augmentation: ProbabilityControl
    sums: Tensor
    summed_iterations: int = 0
    seen_images: int = 0
    rate_scale: float = 1.0
    rollbacks: int = 0
    peak_diversity: float = 0.0
    finished: bool = False
    alarms: list[str] = field(default_factory=list)
    best: Snapshot | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    _PARTS = ("generator", "critic", "ema", "generator_learner", "critic_learner")
    _VALUES = (
        "summed_iterations", "seen_images", "rate_scale", "rollbacks",
        "peak_diversity", "finished", "alarms", "history",
    )  # fmt: skip

    def state_dict(self, ranks: Ranks = ALONE) -> dict[str, Any]:
        """All of it, as tensors and plain values; called by every process, and the same in all."""
        return {
            **{name: getattr(self, name).state_dict() for name in self._PARTS},
            **{name: getattr(self, name) for name in self._VALUES},
            "augmentation": self.augmentation.state_dict(ranks.total),
            "sums": ranks.total(self.sums) / ranks.size,
            "best": self.best and dict(vars(self.best)),
        }

    def load_state_dict(self, values: dict[str, Any], ranks: Ranks = ALONE) -> None:
        """Become the state that `state_dict` described, at whatever number of processes."""
        for name in self._PARTS:
            getattr(self, name).load_state_dict(values[name])
        self.augmentation.load_state_dict(values["augmentation"], ranks=ranks.size)
        for name in self._VALUES:
            setattr(self, name, values[name])
        self.sums = values["sums"].to(self.sums.device)
        self.best = Snapshot(**values["best"]) if values["best"] else None

    def weights_digest(self) -> bytes:
        """SHA-256 of the weights and buffers of all networks."""
        digest = hashlib.sha256()
        for network in (self.generator, self.critic, self.ema):
            for tensor in network.state_dict().values():
                digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.digest()

    def add_figures(self, names: tuple[str, ...], figures: Tensor, weight: float) -> None:
        """Add one step's figures, [len(names)], to the sums."""
        first = FIGURES.index(names[0])
        self.sums[first : first + len(names)] += weight * figures


def initial_state(
    config: RunConfig,
    image: ImageSpec,
    device: torch.device,
    *,
    ranks: Ranks = ALONE,
    starting_point: Path | None = None,
) -> TrainState:
    """Networks and optimisers at the start, a function of `train.seed` and of the starting point.

    Args:
        config: the run.
        image: size, channels and classes.
        device: of this process.
        ranks: the processes that share each batch.
        starting_point: the local folder of `train.init_from`; None where that is null.

    Raises:
        UserError: the starting point does not fit.
    """
    options = config.train
    torch.manual_seed(options.seed)
    generator, critic = build_generator(config.network, image), build_critic(config.network, image)
    if options.init_from is not None:
        assert starting_point is not None
        warm_start(generator, critic, starting_point, options.init_from, config.network, image)
        for frozen in frozen_parameters(critic, options.init_from.freeze_critic_layers):
            frozen.requires_grad_(False)
    undecided = undecided_logit(config.loss.adversarial, label_smoothing=config.loss.label_smoothing)
    layout = MEMORY_FORMATS[options.memory_format]
    for network in (generator, critic):
        network.to(device).to(memory_format=layout)
    ema = copy.deepcopy(generator).requires_grad_(False).eval()
    for network in (generator, critic):
        synchronise_batch_norm(network, ranks)
        if options.compile:
            network.compile(dynamic=False)  # batches have one size; kernels for any are slower
    return TrainState(
        generator=generator,
        critic=critic,
        ema=ema,
        generator_learner=_learner(generator, options.generator_optimizer, options, device),
        critic_learner=_learner(critic, options.critic_optimizer, options, device),
        augmentation=ProbabilityControl(
            config.augmentation.critic, device, options.total_images, undecided_logit=undecided or 0.0
        ),
        sums=torch.zeros(len(FIGURES), dtype=torch.float64, device=device),
    )


def _learner(
    network: nn.Module, optimizer_options: OptimizerOptions, options: TrainOptions, device: torch.device
) -> Learner:
    parameters = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(parameters, eps=optimizer_options.epsilon, fused=True, capturable=options.cuda_graph)
    return Learner(optimizer, loss_scaler(options, device), parameters, SpectralNorms(network))
