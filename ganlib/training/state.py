"""Everything that a training is, between two iterations."""

import copy
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.augmentation import ProbabilityControl
from ganlib.config import GanOptions, ImageSpec, LossOptions, RunConfig, UnpairedOptions
from ganlib.losses import undecided_logit
from ganlib.networks import (
    CycleCritic,
    CycleGenerator,
    FrozenFeaturesCritic,
    StarGenerator,
    build_critic,
    build_encoder,
    build_generator,
)
from ganlib.networks.base import Critic, Generator
from ganlib.networks.encoder import Encoder
from ganlib.pretrained.weights import local_weights
from ganlib.training.distributed import ALONE, Ranks, synchronise_batch_norm
from ganlib.training.figures import figures_of
from ganlib.training.learner import Learner, learner_of
from ganlib.training.precision import memory_format
from ganlib.training.warm_start import frozen_parameters, warm_start


@dataclass
class Snapshot:
    """Weights of EMA and partner on the CPU and their score (lower is better) when `seen_images` had been shown."""

    seen_images: int
    score: float
    generator: dict[str, Tensor]
    partner: dict[str, Tensor]


@dataclass
class TrainState:
    """Networks, optimisers, controllers, counters, and what has been measured so far.

    `partner` is what the generator learns with: a critic, or an encoder.
    `image_history` are earlier images of two translators, [2, K, C, H, W], NaN
    where there is none yet; [0] where none are kept.
    `sums` holds the running sums of the `figures` over the `summed_iterations`
    since the last log point, on the device, so that no step waits for it.
    `rate_scale` multiplies both learning rates and falls at each of the
    `rollbacks`; `alarms` names those that sound now; `finished` is set when
    patience is out.
    """

    generator: Generator
    partner: Critic | Encoder
    ema: Generator
    generator_learner: Learner
    partner_learner: Learner
    augmentation: ProbabilityControl
    figures: tuple[str, ...]
    sums: Tensor
    image_history: Tensor
    summed_iterations: int = 0
    seen_images: int = 0
    rate_scale: float = 1.0
    rollbacks: int = 0
    peak_diversity: float = 0.0
    finished: bool = False
    alarms: list[str] = field(default_factory=list)
    best: Snapshot | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    _PARTS = ("generator", "partner", "ema", "generator_learner", "partner_learner")
    _VALUES = (
        "summed_iterations", "seen_images", "rate_scale", "rollbacks",
        "peak_diversity", "finished", "alarms", "history",
    )  # fmt: skip

    @property
    def critic(self) -> Critic:
        """The partner in a game."""
        assert isinstance(self.partner, Critic)
        return self.partner

    @property
    def encoder(self) -> Encoder:
        """The partner in a variational autoencoder."""
        assert isinstance(self.partner, Encoder)
        return self.partner

    def state_dict(self, ranks: Ranks = ALONE) -> dict[str, Any]:
        """All of it, as tensors and plain values; called by every process, and the same in all."""
        return {
            **{name: getattr(self, name).state_dict() for name in self._PARTS},
            **{name: getattr(self, name) for name in self._VALUES},
            "augmentation": self.augmentation.state_dict(ranks.total),
            "sums": ranks.total(self.sums) / ranks.size,
            "image_history": self.image_history,
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
        self.image_history = values["image_history"].to(self.sums.device)
        self.best = Snapshot(**values["best"]) if values["best"] else None

    def weights_digest(self) -> bytes:
        """SHA-256 of the weights and buffers of all networks."""
        digest = hashlib.sha256()
        for network in (self.generator, self.partner, self.ema):
            for tensor in network.state_dict().values():
                digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.digest()

    def add_figures(self, names: tuple[str, ...], figures: Tensor, weight: float) -> None:
        """Add one step's figures, [len(names)], to the sums."""
        first = self.figures.index(names[0])
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
        UserError: the starting point does not fit, or the weights of a frozen network are not to be had.
    """
    options = config.train
    torch.manual_seed(options.seed)
    generator = build_generator(config.network, image)
    partner = (build_critic if isinstance(config.loss, GanOptions) else build_encoder)(config.network, image)
    if isinstance(partner, FrozenFeaturesCritic):
        assert config.critic_pretrained is not None
        partner.bring(local_weights(config.critic_pretrained, config.extractor))
    if options.init_from is not None:
        assert starting_point is not None
        assert isinstance(partner, Critic)
        warm_start(generator, partner, starting_point, options.init_from, config.network, image)
        for frozen in frozen_parameters(partner, options.init_from.freeze_critic_layers):
            frozen.requires_grad_(False)
    layout = memory_format(options)
    for network in (generator, partner):
        network.to(device).to(memory_format=layout)
    ema = copy.deepcopy(generator).requires_grad_(False).eval()
    for network in (generator, partner):
        synchronise_batch_norm(network, ranks)
        if options.compile:
            for each in _called(network):
                each.compile(dynamic=False)  # batches have one size; kernels for any are slower
    figures = figures_of(config.loss)
    return TrainState(
        generator=generator,
        partner=partner,
        ema=ema,
        generator_learner=learner_of(generator, options.generator_optimizer, options, device),
        partner_learner=learner_of(partner, options.critic_optimizer, options, device),
        augmentation=ProbabilityControl(
            config.augmentation.critic, device, options.total_images, undecided_logit=_undecided_logit(config.loss)
        ),
        figures=figures,
        sums=torch.zeros(len(figures), dtype=torch.float64, device=device),
        image_history=_no_images_yet(config.loss, image, device),
    )


def _called(network: nn.Module) -> Iterable[nn.Module]:
    """The parts of a network that its objective calls."""
    if isinstance(network, CycleGenerator | CycleCritic):
        return network.ways
    return [network.unet if isinstance(network, StarGenerator) else network]


def _no_images_yet(loss: LossOptions, image: ImageSpec, device: torch.device) -> Tensor:
    if not isinstance(loss, UnpairedOptions) or not loss.history_images:
        return torch.empty(0, device=device)
    shape = (2, loss.history_images, image.channels, image.size, image.size)
    return torch.full(shape, torch.nan, device=device)


def _undecided_logit(loss: LossOptions) -> float:
    if not isinstance(loss, GanOptions):
        return 0.0
    return undecided_logit(loss.adversarial, label_smoothing=loss.label_smoothing) or 0.0
