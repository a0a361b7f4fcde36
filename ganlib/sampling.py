"""Seeded latents in, uint8 images out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganlib.networks.base import Generator

Images = NDArray[np.uint8]
GAP_GREY = 64
# The size of every batch in which an image is to depend on nothing but its own row.
ROWS_AT_ONCE = 8


def seeded_latents(count: int, latent_dim: int, seed: int, attempt: int = 0) -> Tensor:
    """Standard normal latents, float32 [N, Z].

    Row i depends on `seed`, `attempt` and i alone: the first rows of a longer draw are
    those of a shorter one, on every device.
    """
    draws = np.random.default_rng([seed, attempt] if attempt else seed).standard_normal(
        (count, latent_dim), dtype=np.float32
    )
    return torch.from_numpy(draws)


def balanced_labels(count: int, num_classes: int) -> Tensor:
    """Labels 0, 1, …, K - 1, 0, 1, …: int64 [N]."""
    return torch.arange(count) % num_classes


def proportional_labels(count: int, class_counts: Sequence[int] | NDArray[np.int64]) -> Tensor:
    """`count` labels in the shares of a data set's classes, spread so that any first part has them too: int64 [N].

    A class has its share of `count` rounded down, and one more where the rest is among the largest. Even classes take
    turns as in `balanced_labels`.

    Args:
        count: of labels.
        class_counts: images of each class, [K]; at least one in all.
    """
    counts = np.asarray(class_counts, dtype=np.int64)
    wanted, rest = np.divmod(count * counts, counts.sum())
    wanted[np.argsort(-rest, kind="stable")[: count - wanted.sum()]] += 1
    labels = np.repeat(np.arange(len(counts)), wanted)
    turns = np.arange(count) - np.repeat(wanted.cumsum() - wanted, wanted)
    return torch.from_numpy(labels[np.argsort((turns + 0.5) / wanted[labels], kind="stable")])


def to_uint8(images: Tensor) -> Images:
    """Images [N, C, H, W] in [-1, 1] (clamped) as uint8 [N, H, W, C]."""
    scaled = images.float().mul(127.5).add(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(images: Images) -> Tensor:
    """Images uint8 [N, H, W, C] as float32 [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2).div_(127.5).sub_(1)


@contextmanager
def inference(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode before is restored."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def render(generator: Generator, latents: Tensor, condition: Tensor | None, *, batch_size: int) -> Images:
    """Generate uint8 [N, H, W, C] from latents [N, Z] and labels [N] or images, on the generator's device."""
    weight = next(generator.parameters())
    chunks = []
    with inference(generator):
        for start in range(0, len(latents), batch_size):
            chunk = slice(start, start + batch_size)
            asked = None if condition is None else condition[chunk].to(weight.device)
            if asked is not None and asked.is_floating_point():  # images, no labels
                asked = asked.to(weight.dtype)
            chunks.append(to_uint8(generator(latents[chunk].to(weight), asked)))
    return np.concatenate(chunks)


def render_rows(generator: Generator, latents: Tensor, condition: Tensor | None) -> Images:
    """As `render`; an image has the same bytes whichever and however many are made beside it.

    How sums are grouped, and so rounded, depends on the size of a batch but not on the other rows: all batches have
    one size, and the last is filled up.
    """
    count = len(latents)
    rows = torch.arange(-(-count // ROWS_AT_ONCE) * ROWS_AT_ONCE).clamp(max=count - 1)
    filled = None if condition is None else condition[rows]
    return render(generator, latents[rows], filled, batch_size=ROWS_AT_ONCE)[:count]


def image_grid(images: Images, *, columns: int, scale: int = 1) -> Images:
    """Tile images [N, H, W, C] row by row into one [H', W', C].

    Each pixel is repeated `scale` times; opaque grey lines of `scale` pixels part the images.
    """
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    canvas = np.full((rows * columns, height + 1, width + 1, channels), GAP_GREY, dtype=np.uint8)
    canvas[..., 3:] = 255
    canvas[:count, :height, :width] = images
    tiled = canvas.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    grid = tiled.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    return grid.repeat(scale, axis=0).repeat(scale, axis=1)


def beside(left: Images, right: Images, *, gap: int) -> Images:
    """Two pictures [H, W, C] of equal height with a white gap of `gap` pixels between them."""
    separator = np.full((left.shape[0], gap, left.shape[2]), 255, dtype=np.uint8)
    return np.concatenate([left, separator, right], axis=1)


def as_labels(values: Sequence[int]) -> Tensor:
    """Labels as int64 [N]."""
    return torch.tensor(list(values), dtype=torch.int64)
