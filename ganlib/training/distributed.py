"""Data parallelism by hand: each rank takes its part of the batch, gradients are averaged after backward.

There is no wrapper around the networks, as a step freezes and unfreezes them and
differentiates twice. Gradients and statistics on a GPU travel over NCCL, in a group
of its own that gives up early. Whatever steers the loop (`any`, `from_first`,
`agree`, `wait`) goes over gloo between the CPUs: no GPU is waited for, the others
may wait long for the first rank, and a rank that has died is noticed at once.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ganlib.errors import ProcessesFailed, TrainingDiverged, TrainingInterrupted, UserError

DEVICE_TIMEOUT_S = 300.0  # NCCL's kernels are launched by all ranks within an iteration, the first one may compile
RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class RankLost(ProcessesFailed):
    """Another rank has ended or does not answer; what became of it is not known here."""


@dataclass(frozen=True)
class Ranks:
    """Who takes part: this process's number, how many there are, and its number on this machine.

    `devices` is the group over which tensors on a GPU travel; None where there are none.
    """

    rank: int
    size: int
    local_rank: int
    devices: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes and speaks for all."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's part of a global batch of `count`: equal parts, in the order of ranks."""
        assert count % self.size == 0, f"{count} does not fall into {self.size} equal parts"
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace each `.grad` by its mean over the ranks, in one message for each dtype and device.

        Parameters without a gradient are passed over; they are the same ones on every rank.

        Raises:
            RankLost: another rank has gone.
        """
        if self.size == 1:
            return
        buckets: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                buckets.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(parameter.grad)
        for gradients in buckets.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            self.sum_(flat, "averaging gradients").div_(self.size)
            parts = torch.split(flat, [gradient.numel() for gradient in gradients])
            torch._foreach_copy_(
                gradients, [part.view(gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]
            )

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, not differentiable; the tensor itself when alone.

        Raises:
            RankLost: another rank has gone.
        """
        return tensor if self.size == 1 else self.sum_(tensor.detach().clone(), "summing figures")

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on at least one rank; the same answer on all of them.

        Raises:
            RankLost: another rank has gone.
        """
        if self.size == 1:
            return flag
        return bool(self.sum_(torch.tensor(int(flag)), "agreeing on what to do"))

    def from_first(self, value: float) -> float:
        """What the first rank has found, in all of them.

        Raises:
            RankLost: another rank has gone.
        """
        if self.size == 1:
            return value
        found = torch.tensor(value if self.is_first else 0.0, dtype=torch.float64)
        return float(self.sum_(found, "hearing from the first rank"))

    def agree(self, digest: bytes) -> bool:
        """Whether all ranks have the same digest, of equal length.

        Raises:
            RankLost: another rank has gone.
        """
        if self.size == 1:
            return True
        every = torch.zeros(self.size, len(digest), dtype=torch.uint8)
        every[self.rank] = torch.frombuffer(bytearray(digest), dtype=torch.uint8)
        # The others' rows being zero, the sum gathers.
        return bool((self.sum_(every, "comparing what each has") == every[self.rank]).all())

    def wait(self, what: str) -> None:
        """Wait until every rank is here; `what` says for what, should one be missing.

        Raises:
            RankLost: another rank has gone.
        """
        if self.size > 1:
            self.sum_(torch.zeros(()), f"waiting for {what}")

    def sum_(self, tensor: Tensor, doing: str) -> Tensor:
        """Replace a tensor by its sum over the ranks, two or more; returns it.

        Raises:
            RankLost: another rank has gone while `doing`.
        """
        with _noticing_loss(doing):
            dist.all_reduce(tensor, group=self.devices if tensor.is_cuda else None)
        return tensor


ALONE = Ranks(0, 1, 0)


def local_rank() -> int:
    """This process's number on this machine, which is that of its GPU; 0 when alone."""
    return _from_environment().local_rank


@contextlib.contextmanager
def join(device: torch.device, *, timeout_s: float) -> Iterator[Ranks]:
    """Take part in what the environment describes (see RANK_VARIABLES), or be alone where it describes nothing.

    Args:
        device: of this process.
        timeout_s: how long a rank waits for another that is there but does something else.

    Raises:
        UserError: the environment describes half of it.
        RankLost: the others cannot be reached.
    """
    ranks = _from_environment()
    if ranks.size == 1:
        yield ranks
        return
    with _noticing_loss("meeting the other ranks"):
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout_s))
        if device.type == "cuda":
            early = timedelta(seconds=DEVICE_TIMEOUT_S)
            devices = dist.new_group(backend="nccl", timeout=early, device_id=device)
            assert isinstance(devices, dist.ProcessGroup)
            ranks = replace(ranks, devices=devices)
    try:
        yield ranks
    except BaseException as error:
        # All stop together, or NCCL has work that the others may never do; an orderly shutdown would wait for it.
        if ranks.devices is not None and not isinstance(error, TrainingInterrupted | TrainingDiverged):
            ranks.devices.abort()
        else:
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def synchronise_batch_norm(module: nn.Module, ranks: Ranks) -> None:
    """Have every batch norm inside a module take its statistics over all ranks while it trains.

    Parameters, buffers and their names stay the same; so does evaluation mode.
    """
    if ranks.size == 1:
        return
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm1d:
                setattr(parent, name, _take_over(child, BatchNorm1dOverRanks(child.num_features), ranks))
            elif type(child) is nn.BatchNorm2d:
                setattr(parent, name, _take_over(child, BatchNorm2dOverRanks(child.num_features), ranks))


class _OverRanks(nn.modules.batchnorm._BatchNorm):
    """Batch norm (Ioffe & Szegedy 2015) over the batches of all ranks, which are of equal size.

    Statistics are in float32 or wider. It can be differentiated once, which is
    enough: gradient penalties are not defined where images are coupled.
    """

    ranks = ALONE

    def forward(self, features: Tensor) -> Tensor:
        """[N, C] or [N, C, H, W], N being this rank's part -> the same shape and dtype."""
        if not self.training:
            return super().forward(features)
        self._check_input_dim(features)  # type: ignore[no-untyped-call]
        outputs: Tensor
        outputs, mean, variance = _NormOverRanks.apply(features, self.weight, self.bias, self.eps, self.ranks)
        if self.track_running_stats:
            self._track(mean, variance, features.numel() // features.shape[1] * self.ranks.size)
        return outputs

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var.dtype), momentum)


class BatchNorm1dOverRanks(_OverRanks, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over all ranks."""


class BatchNorm2dOverRanks(_OverRanks, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over all ranks."""


NormT = TypeVar("NormT", BatchNorm1dOverRanks, BatchNorm2dOverRanks)


def _take_over(old: nn.BatchNorm1d | nn.BatchNorm2d, new: NormT, ranks: Ranks) -> NormT:
    """Give `new` the settings, parameters and buffers of `old`: the same objects."""
    new.eps, new.momentum, new.affine, new.track_running_stats = (
        old.eps,
        old.momentum,
        old.affine,
        old.track_running_stats,
    )
    new.weight, new.bias = old.weight, old.bias
    new.running_mean, new.running_var, new.num_batches_tracked = (
        old.running_mean,
        old.running_var,
        old.num_batches_tracked,
    )
    new.ranks = ranks
    return new.train(old.training)


class _NormOverRanks(torch.autograd.Function):
    """Normalised features, and the mean and biased variance [C] over all ranks, from one exchange each way.

    A rank's gradient counts what its values do to the outputs of all ranks, so
    that the mean of the ranks' parameter gradients is that of the whole batch.
    """

    @staticmethod
    def forward(
        context: Any, features: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor]:
        values, aside = _wide(features), _all_but_channels(features)
        own_mean = values.mean(dim=aside)
        own_variance = (values - _along_channels(own_mean, values)).square_().mean(dim=aside)
        every = own_mean.new_zeros(ranks.size, 2, len(own_mean))
        every[ranks.rank, 0], every[ranks.rank, 1] = own_mean, own_variance
        # The others' rows being zero, the sum gathers.
        means, variances = ranks.sum_(every, "norming a batch").unbind(dim=1)
        mean = means.mean(dim=0)
        variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
        context.save_for_backward(features, weight, mean, torch.rsqrt(variance + epsilon))
        context.has_bias, context.ranks = bias is not None, ranks
        context.mark_non_differentiable(mean, variance)
        return F.batch_norm(features, mean, variance, weight, bias, eps=epsilon), mean, variance

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, *_of_statistics: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, mean, inverse_deviation = context.saved_tensors
        pull, aside = _wide(gradient), _all_but_channels(features)
        centred = _wide(features) - _along_channels(mean, features)
        own = torch.stack([pull.sum(dim=aside), (centred * pull).sum(dim=aside) * inverse_deviation])
        bias_gradient, weight_gradient = own.unbind()
        count = features.numel() // features.shape[1] * context.ranks.size
        mean_pull, mean_along = (context.ranks.sum_(own.clone(), "differentiating a norm") / count).unbind()
        scale = inverse_deviation if weight is None else inverse_deviation * weight
        # scale (pull - mean of pull - normalised x mean of (pull x normalised)), as a sum of three
        centred.mul_(_along_channels(-scale * mean_along * inverse_deviation, features))
        centred.addcmul_(pull, _along_channels(scale, features)).sub_(_along_channels(scale * mean_pull, features))
        return (
            centred.to(features.dtype),
            None if weight is None else weight_gradient.to(weight.dtype),
            bias_gradient if context.has_bias else None,
            None,
            None,
        )


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _all_but_channels(features: Tensor) -> list[int]:
    return [dim for dim in range(features.dim()) if dim != 1]


def _along_channels(values: Tensor, features: Tensor) -> Tensor:
    """[C] -> [1, C] or [1, C, 1, 1]."""
    return values.view(1, -1, *[1] * (features.dim() - 2))


@contextlib.contextmanager
def _noticing_loss(doing: str) -> Iterator[None]:
    """Gloo says of broken connections what it says of mistakes, a RuntimeError, but names its transport."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo/transport" not in str(error):
            raise
        what = "no answer in time" if "imed out" in str(error) else "the connection broke"
        raise RankLost(f"{what} while {doing}") from error


def _from_environment() -> Ranks:
    found = {name: os.environ[name] for name in RANK_VARIABLES if name in os.environ}
    if not found.keys() & {"RANK", "WORLD_SIZE"}:
        return ALONE
    missing = [name for name in RANK_VARIABLES if name not in found]
    if missing:
        raise UserError(
            f"{missing[0]}: not set in the environment, though {min(found)} is; "
            "set all of " + ", ".join(RANK_VARIABLES) + ", as torchrun does, or none"
        )
    return Ranks(int(found["RANK"]), int(found["WORLD_SIZE"]), int(found["LOCAL_RANK"]))
