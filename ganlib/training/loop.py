"""The training loop: step, average, and once in a while log, sample, measure, checkpoint."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlib.config import ImageSpec, LossOptions, TrainOptions
from ganlib.errors import TrainingDiverged
from ganlib.events import EventSink, Notice, Picture, Progress, Scalars, ignore
from ganlib.sampling import Images, balanced_labels, image_grid, render, seeded_latents
from ganlib.training.checkpoint import CheckpointStore
from ganlib.training.ema import decay_at, update_ema
from ganlib.training.randomness import generator_at
from ganlib.training.schedules import linear
from ganlib.training.state import LOSS_NAMES, Snapshot, TrainState
from ganlib.training.step import RealBatch, critic_step, generator_step

Batches = Callable[[int], tuple[Images, NDArray[np.int64] | None]]
GRID_ROWS, GRID_COLUMNS = 8, 10
PROGRESS_EVERY_S = 0.5
RATE_WEIGHT = 0.2  # of the newest interval in the smoothed rate
RENDER_BATCH_SIZE = 250


@dataclass(frozen=True)
class Objective:
    """What is optimised and how a snapshot is judged.

    `measure` scores uint8 images [N, H, W, C]; lower is better; `metric` is its name.
    """

    loss: LossOptions
    metric: str
    measure: Callable[[Images], float]


def train(
    state: TrainState,
    batches: Batches,
    objective: Objective,
    options: TrainOptions,
    image: ImageSpec,
    checkpoints: CheckpointStore,
    *,
    conditional: bool,
    on_event: EventSink = ignore,
) -> TrainState:
    """Train from where `state` is until `total_images` have been shown.

    Args:
        state: changed in place.
        batches: seen_images -> uint8 images [N, H, W, C] and labels [N] or None.
        objective: losses and the score that picks the best snapshot.
        options: lengths, intervals, rates, seed.
        image: size, channels and classes.
        checkpoints: where the state is kept; emptied by the caller once its outputs are written.
        conditional: whether labels are given to the networks.
        on_event: hears figures, pictures and progress; must not raise.

    Raises:
        TrainingDiverged: a loss is not finite; the last good checkpoint is kept.
    """
    device = state.sums.device
    clock = _Clock(options.total_images, state.seen_images, on_event)
    while state.seen_images < options.total_images:
        before = state.seen_images
        real = _to_device(*batches(before), device=device, conditional=conditional)
        _step(state, real, objective.loss, options)
        state.seen_images += options.batch_size
        clock.tick(state.seen_images)
        span = _Span(before, state.seen_images, options.total_images)
        measuring, saving = span.meets(options.measure_every_images), span.meets(options.checkpoint_every_images)
        if measuring or saving or span.meets(options.log_every_images):
            _log(state, clock, checkpoints, on_event)
        if span.meets(options.sample_every_images):
            on_event(Picture(state.seen_images, "samples", sample_grid(state, options, image, conditional=conditional)))
        if measuring:
            _measure(state, objective, options, image, conditional=conditional, on_event=on_event)
        if saving:
            checkpoints.save(state)
    return state


def sample_grid(state: TrainState, options: TrainOptions, image: ImageSpec, *, conditional: bool) -> Images:
    """The fixed-seed grid of the EMA generator: a column a class where there are classes."""
    columns = image.num_classes if conditional and image.num_classes <= GRID_COLUMNS else GRID_COLUMNS
    pictures = _draw(state, options, image, GRID_ROWS * columns, conditional=conditional)
    return image_grid(pictures, columns=columns, scale=max(1, 32 // image.size))


def _step(state: TrainState, real: RealBatch, loss: LossOptions, options: TrainOptions) -> None:
    _set_learning_rates(state, options)
    latents = [_latents(state, options, purpose) for purpose in ("critic", "generator")]
    critic_figures = critic_step(state, real, latents[0], loss, options)
    generator_figure = generator_step(state, real, latents[1], loss, options)
    decay = decay_at(
        state.seen_images + options.batch_size,
        batch_size=options.batch_size,
        half_life_images=options.ema_half_life_images,
        ramp=options.ema_ramp,
    )
    update_ema(state.ema, state.generator, decay)
    critic, penalty, real_logit, fake_logit = critic_figures
    state.sums += torch.stack([critic, generator_figure, penalty, real_logit, fake_logit])
    state.summed_steps += 1


def _set_learning_rates(state: TrainState, options: TrainOptions) -> None:
    """Both rates fall linearly to `final_learning_rate_share` of themselves at the end."""
    for optimizer, start in (
        (state.generator_optimizer, options.generator_learning_rate),
        (state.critic_optimizer, options.critic_learning_rate),
    ):
        end = start * options.final_learning_rate_share
        rate = linear(state.seen_images, start=start, end=end, over_images=options.total_images)
        for group in optimizer.param_groups:
            group["lr"] = rate


def _latents(state: TrainState, options: TrainOptions, purpose: str) -> Tensor:
    device = state.sums.device
    noise = generator_at(options.seed, purpose, state.seen_images, device)
    return torch.randn(options.batch_size, state.generator.latent_dim, generator=noise, device=device)


def _to_device(
    images: Images, labels: NDArray[np.int64] | None, *, device: torch.device, conditional: bool
) -> RealBatch:
    """uint8 [N, H, W, C] crosses to the device and becomes [N, C, H, W] in [-1, 1] there."""
    pixels = torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2)
    on_device = torch.from_numpy(labels).to(device, non_blocking=True) if conditional and labels is not None else None
    return RealBatch(pixels.float().div_(127.5).sub_(1), on_device)


def _log(state: TrainState, clock: "_Clock", checkpoints: CheckpointStore, on_event: EventSink) -> None:
    """Mean figures since the last log point; between log points, no step waits for the device."""
    if not state.summed_steps:
        return
    means = (state.sums / state.summed_steps).tolist()
    figures = dict(zip(LOSS_NAMES, means, strict=True))
    for name, value in figures.items():
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"train: {name} is {value} at {state.seen_images} images shown; stopped, the last good checkpoint is "
                f"kept in {checkpoints.home}; lower train.critic_learning_rate and train.generator_learning_rate"
            )
    state.history.append({"seen_images": state.seen_images, **figures})
    state.sums.zero_()
    state.summed_steps = 0
    on_event(Scalars(state.seen_images, {**figures, "speed/images_per_s": clock.images_per_s}))


def _measure(
    state: TrainState,
    objective: Objective,
    options: TrainOptions,
    image: ImageSpec,
    *,
    conditional: bool,
    on_event: EventSink,
) -> None:
    score = objective.measure(_draw(state, options, image, options.measure_samples, conditional=conditional))
    state.history[-1][objective.metric] = score
    on_event(Scalars(state.seen_images, {objective.metric: score}))
    if not math.isfinite(score):
        on_event(Notice(f"{objective.metric} is {score} at {state.seen_images} images shown; snapshot not considered"))
    elif state.best is None or score < state.best.score:
        weights = {name: tensor.detach().cpu().clone() for name, tensor in state.ema.state_dict().items()}
        state.best = Snapshot(state.seen_images, score, weights)


def _draw(state: TrainState, options: TrainOptions, image: ImageSpec, count: int, *, conditional: bool) -> Images:
    latents = seeded_latents(count, state.ema.latent_dim, options.seed)
    labels = balanced_labels(count, image.num_classes) if conditional else None
    return render(state.ema, latents, labels, batch_size=RENDER_BATCH_SIZE)


@dataclass(frozen=True)
class _Span:
    """The images of one step on the clock: after `before`, up to `after`."""

    before: int
    after: int
    total: int

    def meets(self, every_images: int) -> bool:
        """Whether a multiple of `every_images`, or the end, lies in the span."""
        return self.after >= self.total or self.after // every_images > self.before // every_images


class _Clock:
    """Images per second, and progress events at a readable pace."""

    def __init__(self, total_images: int, seen_images: int, on_event: EventSink) -> None:
        self.total_images = total_images
        self.on_event = on_event
        self.images_per_s = 0.0
        self._last = (time.monotonic(), seen_images)

    def tick(self, seen_images: int) -> None:
        now, (then, seen_then) = time.monotonic(), self._last
        if now - then >= PROGRESS_EVERY_S or seen_images >= self.total_images:
            rate = (seen_images - seen_then) / max(now - then, 1e-9)
            self.images_per_s += (rate - self.images_per_s) * (RATE_WEIGHT if self.images_per_s else 1.0)
            self._last = (now, seen_images)
            self.on_event(Progress(seen_images, self.total_images, self.images_per_s))
