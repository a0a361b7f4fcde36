"""Equal trainings, and penalties in low precision beside float64."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.contenders import Ours
from benchmarks.gpu.card import Card
from ganlib.config import RunConfig
from ganlib.losses import zero_centered_penalty
from ganlib.training.precision import autocast

ITERATIONS, REHEARSED_ITERATIONS = 16, 2
SCHEDULE = {"shape": "linear", "start": 1.0, "end": 0.3, "over_images": None, "warmup_images": 0}
ADAPTIVE = {
    "policy": "ada", "control": {"kind": "adaptive", "target": 0.6, "full_range_images": 1000, "every_images": 256},
    "blit": 1.0, "geometry": 1.0, "colour": 1.0, "noise": 1.0, "cutout": 1.0,
}  # fmt: skip
# Beside the families as they are: augmentation that adapts, penalties that change and are due now and then.
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("dcgan", {}),
    "dcgan, adaptive augmentation": ("dcgan", {"augmentation": {"mirror": True, "critic": ADAPTIVE}}),
    "sngan": ("sngan", {}),
    "r3gan, lazy changing penalties": (
        "r3gan",
        {"loss": {"r1": {"weight": SCHEDULE, "every_steps": 2}, "r2": {"weight": SCHEDULE, "every_steps": 4}}},
    ),
}


def equal_runs(card: Card) -> Iterator[dict[str, Any]]:
    """Eager against graphed, and graphed without a stop against graphed and resumed in the middle."""
    iterations = REHEARSED_ITERATIONS if card.rehearsing else ITERATIONS
    for case, (family, changes) in CHANGES.items():
        eager, graphed = (_changed(card.family(family, deterministic=True, batch_size=64, cuda_graph=graph), changes)
                          for graph in (False, True))  # fmt: skip
        one, whole = card.ours(eager), card.ours(graphed)
        one.run(iterations)
        whole.run(iterations)
        first = card.ours(graphed)
        first.run(iterations // 2)
        resumed = card.ours(graphed)
        resumed.state.load_state_dict(first.state.state_dict())
        resumed.run(iterations - iterations // 2)
        for name, other in (("eager", one), ("resumed", resumed)):
            apart = _apart(whole, other)
            yield {"case": f"{case}: graph and {name}", "ok": apart == 0.0, "largest difference": apart}


def penalties_in_precisions(card: Card) -> Iterator[dict[str, Any]]:
    """R1 and the length of its gradient by the critic's weights, for R3GAN's critic as it starts."""
    exact: Tensor | None = None
    for precision in ("float64", "fp32", "bf16", "fp16"):
        config = card.family("r3gan", batch_size=64)
        ours = card.ours(config)
        critic = ours.state.critic
        images = ours.feed.at(0).images
        if precision == "float64":
            critic, images = critic.double(), images.double()
        half = config.train.model_copy(update={"precision": precision if precision in ("bf16", "fp16") else "fp32"})
        images = images.detach().requires_grad_()
        with autocast(half, images.device):
            logits = critic.forward(images, None)
        scale = 2.0**16 if precision == "fp16" else 1.0
        penalty = zero_centered_penalty(logits, images, loss_scale=scale).mean()
        gradients = torch.autograd.grad(scale * penalty, list(critic.parameters()), allow_unused=True)
        found = torch.cat([each.flatten().double() / scale for each in gradients if each is not None])
        exact = found if exact is None else exact
        error = float((found - exact).norm() / exact.norm())
        yield {"case": precision, "r1": penalty.item(), "relative error of its gradient": error, "ok": error < 0.1}


def _changed(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    values = config.model_dump(mode="json", by_alias=True)
    for section, options in changes.items():
        values[section] |= options
    return RunConfig.model_validate(values)


def _apart(one: Ours, other: Ours) -> float:
    """The largest difference of any weight or buffer of all networks."""
    differences = [0.0]
    for name in ("generator", "critic", "ema"):
        theirs = getattr(other.state, name).state_dict()
        for key, value in getattr(one.state, name).state_dict().items():
            differences.append(float((value.double() - theirs[key].double()).abs().max()))
    return max(differences)
