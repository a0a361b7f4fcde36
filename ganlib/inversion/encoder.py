"""An encoder for a trained generator, which learns from the generator's own samples."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganlib.arithmetic import exact_arithmetic
from ganlib.config import EncoderOptions
from ganlib.errors import TrainingInterrupted, UserError
from ganlib.events import EventSink, Progress, Scalars
from ganlib.networks import build_encoder
from ganlib.networks.base import Critic
from ganlib.networks.encoder import Encoder
from ganlib.packaging import ImageGenerator

LOG_EVERY_STEPS = 100


def train_encoder(
    generator: ImageGenerator,
    critic: Critic | None,
    options: EncoderOptions,
    *,
    seed: int,
    should_stop: Callable[[], bool],
    on_event: EventSink,
) -> Encoder:
    """Train with Adam, whose rate falls to 0 along a cosine, on samples of all classes alike.

    The loss is that of the latents under the encoder's Gaussian (their negative log-likelihood), and, of what the
    generator makes of its mean, the weighted mean squared difference of pixels from the sample and the weighted
    relative one of the critic's features: latents that hardly show need not be found (Zhu et al. 2020, In-Domain GAN
    Inversion, learn from images too). Deterministic for a given device, seed and thread count.

    Args:
        generator: frozen, in evaluation mode; the encoder is on its device.
        critic: likewise, where `options.feature_weight` is not 0.
        options: of the training.
        seed: of weights and samples.
        should_stop: asked at each step.
        on_event: hears the losses, and progress in samples.

    Raises:
        UserError: the loss is not finite, or a feature weight without a critic.
        TrainingInterrupted: on request; nothing is kept.
    """
    if options.feature_weight and critic is None:
        raise UserError(f"train.encoder.feature_weight={options.feature_weight} needs a critic; set it to 0")
    device = next(generator.generator.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        encoder = build_encoder(generator.network, generator.image).to(device)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=options.learning_rate)
    steps = -(-options.total_images // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    started_s = time.monotonic()
    with exact_arithmetic():
        for step in range(steps):
            if should_stop():
                raise TrainingInterrupted("stopped while the encoder was trained; run again to train it")
            latents, labels = _draw(generator, options.batch_size, seed, step, device)
            losses = _losses(encoder, generator, critic, options, latents, labels)
            loss = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            seen_images = (step + 1) * options.batch_size
            if step % LOG_EVERY_STEPS == 0 or step == steps - 1:
                if not bool(torch.isfinite(loss)):
                    raise UserError(f"train.encoder: the loss is {loss.item()}; lower train.encoder.learning_rate")
                on_event(Scalars(seen_images, {f"encoder/{name}": each.item() for name, each in losses.items()}))
            on_event(Progress(seen_images, steps * options.batch_size, seen_images / (time.monotonic() - started_s)))
    return encoder.eval().requires_grad_(False)


def _draw(
    generator: ImageGenerator, count: int, seed: int, step: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    random = np.random.default_rng([seed, step])
    latents = torch.from_numpy(random.standard_normal((count, generator.network.latent_dim), dtype=np.float32))
    if not generator.conditional:
        return latents.to(device), None
    labels = torch.from_numpy(random.integers(0, generator.image.num_classes, count))
    return latents.to(device), labels.to(device)


def _losses(
    encoder: Encoder,
    generator: ImageGenerator,
    critic: Critic | None,
    options: EncoderOptions,
    latents: Tensor,
    labels: Tensor | None,
) -> dict[str, Tensor]:
    """Weighted, by name."""
    with torch.no_grad():
        images = generator.generator(latents, labels)
    mean, log_variance = encoder(images)
    losses = {"latents": F.gaussian_nll_loss(mean, latents, log_variance.exp())}
    if options.pixel_weight or options.feature_weight:
        made = generator.generator(mean, labels)
        losses["pixels"] = options.pixel_weight * F.mse_loss(made, images)
        if critic is not None and options.feature_weight:
            asked = labels if critic.num_classes else None
            with torch.no_grad():
                wanted = critic.embed(images, asked)
            apart = (critic.embed(made, asked) - wanted).square().sum() / wanted.square().sum()
            losses["features"] = options.feature_weight * apart
    return losses
