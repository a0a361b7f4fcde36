"""How one network learns."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ganlib.config import OptimizerOptions, TrainOptions
from ganlib.networks.spectral import SpectralNorms
from ganlib.training.distributed import Ranks
from ganlib.training.precision import loss_scaler


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

    def update(self, options: OptimizerOptions, ranks: Ranks) -> Tensor:
        """Average the gradients over the devices, clip them, step; returns their norm before clipping, []."""
        ranks.average_gradients(self.parameters)
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([each.grad for each in self.parameters if each.grad is not None])
        if options.max_gradient_norm is not None:
            clip_grads_with_norm_(self.parameters, options.max_gradient_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.spectral_norms.renew()
        return self.unless_skipped(norm)

    def unless_skipped(self, figure: Tensor) -> Tensor:
        """0 in place of what fp16 has overflowed to: the scaler skips such a step and lowers the scale, by design."""
        return torch.nan_to_num(figure, nan=0.0, posinf=0.0, neginf=0.0) if self.scaler.is_enabled() else figure

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


def learner_of(
    network: nn.Module, optimizer_options: OptimizerOptions, options: TrainOptions, device: torch.device
) -> Learner:
    """Adam on those parameters of a network that are not kept frozen."""
    parameters = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(parameters, eps=optimizer_options.epsilon, fused=True, capturable=options.cuda_graph)
    return Learner(optimizer, loss_scaler(options, device), parameters, SpectralNorms(network))
