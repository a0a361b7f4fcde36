"""Real images from packed data to the device, in the endless seeded order."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlib.config import StylesOptions, UnpairedOptions
from ganlib.datasets.packed.kinds import apart
from ganlib.datasets.packed.order import BalancedOrder, batch_indices
from ganlib.datasets.packed.reading import Split
from ganlib.errors import UserError
from ganlib.training.distributed import Ranks
from ganlib.training.inputs import Feed, RealBatch
from ganlib.training.precision import memory_format
from ganlib.training.recipe import Recipe

RESIDENT_SHARE = 0.25  # of the free memory of the device, at most, for the whole split
READ_IMAGES = 4096


class SplitFeed(Feed):
    """Batches of a split: from the device's own memory where the split fits, else read one batch ahead.

    The pixels cross as uint8 and become [N, C, H, W] in [-1, 1] there. On the
    CPU the memory map is read directly.
    """

    def __init__(self, split: Split, recipe: Recipe, ranks: Ranks, device: torch.device) -> None:
        self._split, self._device = split, device
        self._seed, self._batch_size = recipe.options.seed, recipe.options.batch_size
        self._layout = memory_format(recipe.options)
        self._share = ranks.share(self._batch_size)
        self._kinds = _kinds(split, recipe, self._share)
        self._labels = split.labels if recipe.network.conditional else None
        self._balanced = _balanced(split, self._seed) if recipe.options.class_balanced else None
        self._resident = _resident(split, self._labels, device)
        self._reader = ThreadPoolExecutor(1, "reader") if device.type == "cuda" and self._resident is None else None
        self._ahead: tuple[int, Future[tuple[Tensor, ...]]] | None = None

    def choose(self, seen_images: int) -> tuple[Tensor, ...]:
        """Indices into what lies on the device, else pixels, with labels where they are wanted."""
        if self._resident is not None:
            return (torch.from_numpy(self._indices(seen_images)).pin_memory(),)
        if self._reader is not None:
            return self._read_ahead(seen_images, self._reader)
        return self._read(seen_images)

    def load(self, *chosen: Tensor) -> RealBatch:
        """Images [N, C, H, W] in [-1, 1] on the device, of pairs with what a translator is given."""
        chosen = tuple(each.to(self._device, non_blocking=True) for each in chosen)
        if self._resident is not None:
            chosen = tuple(each[chosen[0]] for each in self._resident)
        if not self._split.paired:
            return RealBatch(self._images(chosen[0]), chosen[1] if self._labels is not None else None)
        wanted, given = (self._images(half) for half in chosen[0].chunk(2, dim=2))
        return RealBatch(wanted, given)

    def _images(self, pixels: Tensor) -> Tensor:
        """Uint8 [N, H, W, C] as [N, C, H, W] in [-1, 1]."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=self._layout)
        return images.div_(127.5).sub_(1)

    def _indices(self, seen_images: int) -> NDArray[np.int64]:
        seed, batch_size = self._seed, self._batch_size
        if self._kinds is not None:
            count = len(self._kinds)
            share = {"seen_images": seen_images // count, "batch_size": batch_size // count}
            rows = [
                kind[batch_indices(seed=seed + index, size=len(kind), **share)]
                for index, kind in enumerate(self._kinds)
            ]
            whole = np.stack(rows, axis=1).reshape(-1)
        elif self._balanced is not None:
            whole = self._balanced.indices(seen_images, batch_size)
        else:
            whole = batch_indices(seed=seed, seen_images=seen_images, batch_size=batch_size, size=len(self._split))
        return whole[self._share]

    def _read_ahead(self, seen_images: int, reader: ThreadPoolExecutor) -> tuple[Tensor, ...]:
        """This batch, most likely read already; the next one is begun."""
        ready = self._ahead[1] if self._ahead is not None and self._ahead[0] == seen_images else None
        # Only the reader reads: after a rollback it may still be at another batch.
        chosen = (ready or reader.submit(self._read_pinned, seen_images)).result()
        following = seen_images + self._batch_size
        self._ahead = following, reader.submit(self._read_pinned, following)
        return chosen

    def _read_pinned(self, seen_images: int) -> tuple[Tensor, ...]:
        return tuple(each.pin_memory() for each in self._read(seen_images))

    def _read(self, seen_images: int) -> tuple[Tensor, ...]:
        indices = self._indices(seen_images)
        pixels = torch.from_numpy(self._split.take_packed(indices))
        return (pixels,) if self._labels is None else (pixels, torch.from_numpy(self._labels[indices]))


def _kinds(split: Split, recipe: Recipe, share: slice) -> Sequence[NDArray[np.int64]] | None:
    """The rows of each kind, which take turns in a batch; None of what does not learn without pairs."""
    if not isinstance(recipe.loss, UnpairedOptions | StylesOptions):
        return None
    assert recipe.inputs is not None
    kinds = apart(split, recipe.image, recipe.inputs)
    if (share.stop - share.start) % (len(kinds) * recipe.options.accumulation):
        raise UserError(
            f"train.batch_size={recipe.options.batch_size}: with loss.objective={recipe.loss.objective} each part has "
            f"as many images of each of {len(kinds)} kinds, found {share.stop - share.start} images on each device; "
            "change batch_size or devices"
        )
    return kinds


def _balanced(split: Split, seed: int) -> BalancedOrder:
    if split.labels is None:
        raise UserError("train.class_balanced=true: needs labelled data, found none; set it to false or add labels")
    return BalancedOrder(seed, split.labels)


def _resident(split: Split, labels: NDArray[np.int64] | None, device: torch.device) -> tuple[Tensor, ...] | None:
    """The whole split as it is packed, uint8 [N, H, W, C], and its labels on the device; None on CPUs, without room."""
    if device.type != "cuda":
        return None
    shape = split.take_packed(np.zeros(1, dtype=np.int64)).shape[1:]
    free_bytes, _ = torch.cuda.mem_get_info(device)
    if len(split) * int(np.prod(shape)) > RESIDENT_SHARE * free_bytes:
        return None
    pixels = torch.empty((len(split), *shape), dtype=torch.uint8, device=device)
    for start in range(0, len(split), READ_IMAGES):
        indices = np.arange(start, min(start + READ_IMAGES, len(split)), dtype=np.int64)
        pixels[start : start + len(indices)] = torch.from_numpy(split.take_packed(indices))
    return (pixels,) if labels is None else (pixels, torch.from_numpy(labels).to(device))
