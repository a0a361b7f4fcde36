"""Is the training healthy? Named alarms with the figures that raise them."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ganlib.config import AlarmOptions, GanOptions, LossOptions
from ganlib.events import Alarm
from ganlib.losses import critic_loss_floor
from ganlib.sampling import Images


def figure_alarms(
    figures: Mapping[str, float], options: AlarmOptions, loss: LossOptions, seen_images: int
) -> Iterator[Alarm]:
    """The alarms that the mean figures since the last log point raise."""
    for name, value in figures.items():
        if not math.isfinite(value):
            yield Alarm(seen_images, "non_finite", name, value, math.inf, f"{name} is {value}")
    limit = options.exploding_gradients
    for name, value in figures.items():
        if limit is not None and name.startswith("gradient_norm/") and value > limit:
            text = f"{name} is {value:.4g}, above {limit:g}: gradients explode"
            yield Alarm(seen_images, "exploding_gradients", name, value, limit, text)
    if not isinstance(loss, GanOptions):
        return
    floor = critic_loss_floor(loss.adversarial, label_smoothing=loss.label_smoothing)
    if options.critic_won is not None and floor is not None:
        margin = figures["loss/critic"] - floor
        if margin < options.critic_won:
            text = (
                f"loss/critic is {margin:.4g} above its lower bound, less than {options.critic_won:g}: the critic has "
                "won, and the generator learns little"
            )
            yield Alarm(seen_images, "critic_won", "loss/critic", margin, options.critic_won, text)


def diversity_alarms(diversity: float, peak: float, options: AlarmOptions, seen_images: int) -> Iterator[Alarm]:
    """The alarm that samples grow alike raises; `peak` is the highest diversity so far."""
    limit = options.falling_diversity
    if limit is not None and diversity < limit * peak:
        text = f"diversity is {diversity:.4g}, {diversity / peak:.0%} of its highest ({peak:.4g}): samples grow alike"
        yield Alarm(seen_images, "falling_diversity", "diversity", diversity, limit * peak, text)


def diversity(images: Images, labels: np.ndarray[tuple[int], np.dtype[np.int64]] | None) -> float:
    """Mean root-mean-square pixel distance between images of the same class, in [0, 1]; without labels of all.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
    """
    groups = [images] if labels is None else [images[labels == label] for label in np.unique(labels)]
    distances = [each for group in groups for each in _pairwise_distances(group)]
    return float(np.mean(distances)) if distances else math.nan


def _pairwise_distances(images: Images) -> Iterator[float]:
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    for index in range(1, len(flat)):
        yield from np.sqrt(np.square(flat[index:] - flat[:-index]).mean(axis=1)).tolist()
