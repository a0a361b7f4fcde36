"""Latents whose image is nearest to a given one, found by optimisation (Creswell & Bharath 2019)."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganlib.arithmetic import exact_arithmetic
from ganlib.config import ReconstructionOptions
from ganlib.counting import counted
from ganlib.errors import UserError
from ganlib.metrics.classifier import to_input
from ganlib.metrics.distances import nearest
from ganlib.networks.base import Critic
from ganlib.networks.encoder import Encoder
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, render, seeded_latents

# Candidates are compared at most at this side, averaged over areas: 4,096 of RGB take 50 MB.
LARGEST_SIDE = 32
RENDERED_AT_ONCE = 256
# Adam's; the second moment forgets within a search of a few hundred steps.
BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Reconstruction:
    """What was found of N images.

    Attributes:
        latents: float32 [N, Z] on the CPU.
        labels: int64 [N], given or inferred; None of an unconditional generator.
        images: what the generator makes of these, uint8 [N, H, W, C].
    """

    latents: Tensor
    labels: Tensor | None
    images: Images


def reconstruct(
    generator: ImageGenerator,
    images: Images,
    options: ReconstructionOptions,
    *,
    seed: int,
    labels: Tensor | None = None,
    critic: Critic | None = None,
    encoder: Encoder | None = None,
    notify: Callable[[str], None],
) -> Reconstruction:
    """Find the latents of images.

    Of `options.candidates` seeded samples the nearest ones to an image are where its searches start, so that a
    class that is not given is inferred. Each search lowers the mean squared difference of pixels in [-1, 1], the
    weighted relative difference of the critic's features, and the weighted mean square of the latents, which is the
    prior of normal latents: without it they grow beyond what the generator was trained on. The lowest wins.

    An image's latents depend on the seed and on it alone, not on the images beside it: batches are of one size, and
    their rows do not see each other. On a CPU in float32 it was seen to hold bit for bit.

    Args:
        generator: on any device.
        images: uint8 [N, H, W, C] of its size and channels.
        options: of the search.
        seed: of the candidates.
        labels: classes, int64 [N]; None: inferred, or an unconditional generator.
        critic: where `options.feature_weight` is not 0, on the same device.
        encoder: of the generator, likewise; the last search of each image starts where it points.
        notify: hears of progress after five seconds.

    Raises:
        UserError: no images, unfit labels, fewer candidates a class than starts, a feature weight without a critic.
    """
    _check(generator, images, options, labels, critic)
    starts, classes = _starts(generator, images, options, labels, seed)
    objective = partial(_losses, generator.generator, critic if options.feature_weight else None, options)
    weight = next(generator.generator.parameters())
    targets = to_input(images, torch.device("cpu"))
    latents, chosen = [], []
    with exact_arithmetic(), _frozen(generator.generator, critic, encoder):
        batches = torch.split(torch.arange(len(images)), options.batch_size)
        for batch in counted(batches, len(images), "latents", notify):
            # The last batch is filled up with its last image.
            padded = F.pad(batch, (0, options.batch_size - len(batch)), value=int(batch[-1]))
            rows = (padded[:, None] * options.starts + torch.arange(options.starts)).flatten()
            asked = None if classes is None else classes[rows].to(weight.device)
            wanted = targets[padded].repeat_interleave(options.starts, dim=0).to(weight)
            began = starts[rows].to(weight)
            if encoder is not None:
                with torch.no_grad():
                    began[options.starts - 1 :: options.starts] = encoder(targets[padded].to(weight))[0]
            found, losses = _search(objective, began, wanted, asked, options)
            best = losses.view(-1, options.starts).argmin(dim=1) + torch.arange(0, len(rows), options.starts)
            latents.append(found[best[: len(batch)]])
            chosen.append(rows[best[: len(batch)]])
    kept, kept_classes = torch.cat(latents), None if classes is None else classes[torch.cat(chosen)]
    made = render(generator.generator, kept, kept_classes, batch_size=RENDERED_AT_ONCE)
    return Reconstruction(kept, kept_classes, made)


def encoded(options: ReconstructionOptions) -> ReconstructionOptions:
    """Those with which `reconstruct` returns what an encoder takes for the latents, without a search.

    A class that is not given is still that of the nearest candidate.
    """
    return options.model_copy(update={"starts": 1, "steps": 0})


def _search(
    objective: Callable[[Tensor, Tensor, Tensor | None, torch.dtype], Tensor],
    starts: Tensor,
    targets: Tensor,
    labels: Tensor | None,
    options: ReconstructionOptions,
) -> tuple[Tensor, Tensor]:
    """Latents [N, Z] after all steps of a batch of searches, and what they lose, [N]; on the CPU."""
    half = torch.bfloat16 if options.precision == "bf16" else torch.float32
    latents = nn.Parameter(starts.clone())
    optimizer = torch.optim.Adam([latents], lr=options.learning_rate, betas=BETAS)
    for step in range(options.steps):
        optimizer.param_groups[0]["lr"] = options.learning_rate * (1 + math.cos(math.pi * step / options.steps)) / 2
        losses = objective(latents, targets, labels, half)
        (latents.grad,) = torch.autograd.grad(losses.sum(), latents)
        optimizer.step()
    with torch.no_grad():
        return latents.detach().cpu(), objective(latents, targets, labels, torch.float32).cpu()


def _losses(
    generator: nn.Module,
    critic: Critic | None,
    options: ReconstructionOptions,
    latents: Tensor,
    targets: Tensor,
    labels: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """Of each search by itself, [N]."""
    with torch.autocast(latents.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        images = generator(latents, labels)
        losses: Tensor = (images - targets).square().flatten(1).mean(dim=1)
        if critic is not None:
            asked = labels if critic.num_classes else None
            with torch.no_grad():
                wanted = critic.embed(targets, asked)
            apart = (critic.embed(images, asked) - wanted).square().sum(dim=1)
            losses = losses + options.feature_weight * apart / wanted.square().sum(dim=1)
    return losses + options.prior_weight * latents.square().mean(dim=1)


def _starts(
    generator: ImageGenerator, images: Images, options: ReconstructionOptions, labels: Tensor | None, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Latents [N * starts, Z], and classes of a conditional generator: the candidates nearest in pixels."""
    latents = seeded_latents(options.candidates, generator.network.latent_dim, seed)
    classes = balanced_labels(options.candidates, generator.image.num_classes) if generator.conditional else None
    made = _thumbnails(render(generator.generator, latents, classes, batch_size=RENDERED_AT_ONCE))
    wanted = _thumbnails(images)
    chosen = torch.empty(len(images), options.starts, dtype=torch.int64)
    for rows, compared in _meetings(labels, classes, len(images), options.candidates):
        _, places = nearest(wanted[rows], made[compared], options.starts)
        chosen[rows] = compared[places]
    return latents[chosen.flatten()], None if classes is None else classes[chosen.flatten()]


def _meetings(
    labels: Tensor | None, classes: Tensor | None, count: int, candidates: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Which images are compared with which candidates: where labels are given, only those of the same class."""
    if labels is None or classes is None:
        yield torch.arange(count), torch.arange(candidates)
        return
    for label in np.unique(labels.numpy()):
        yield (labels == int(label)).nonzero().flatten(), (classes == int(label)).nonzero().flatten()


def _thumbnails(images: Images) -> Tensor:
    """Pixels as vectors, float32 [N, D]."""
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    if planes.shape[2] > LARGEST_SIDE:
        planes = F.adaptive_avg_pool2d(planes, LARGEST_SIDE)
    return planes.flatten(1)


def _check(
    generator: ImageGenerator,
    images: Images,
    options: ReconstructionOptions,
    labels: Tensor | None,
    critic: Critic | None,
) -> None:
    if not len(images):
        raise UserError("images: found none, expected at least one")
    if labels is not None and not generator.conditional:
        raise UserError("labels: this generator is unconditional; leave them out")
    classes = generator.image.num_classes if generator.conditional else 1
    if labels is not None and not bool(((labels >= 0) & (labels < classes)).all()):
        raise UserError(f"labels: expected 0 to {classes - 1}, found {int(labels.min())} to {int(labels.max())}")
    if options.candidates < options.starts * classes:
        raise UserError(
            f"evaluate.reconstruction.candidates={options.candidates}: each of {classes} classes needs as many as "
            f"evaluate.reconstruction.starts={options.starts}; raise it to at least {options.starts * classes}"
        )
    if options.feature_weight and critic is None:
        raise UserError(
            f"evaluate.reconstruction.feature_weight={options.feature_weight} needs the critic, whose features are "
            "compared, and this generator has none; set it to 0"
        )


@contextmanager
def _frozen(*networks: nn.Module | None) -> Iterator[None]:
    """Networks as they sample, for gradients with respect to their inputs."""
    before = [(network, network.training) for network in networks if network is not None]
    for network, _ in before:
        network.eval()
    try:
        yield
    finally:
        for network, training in before:
            network.train(training)
