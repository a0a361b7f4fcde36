"""Images for many requests at once, drawn in one thread."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.serving.limits import MOST_WAITING_IMAGES
from pipelines.serving.problems import Refused

# Most images drawn together; a request for more is drawn in parts, so that small ones need not wait for all of it.
TOGETHER = 64


@dataclass(frozen=True)
class _Part:
    """Up to `TOGETHER` images of one request."""

    model: Any
    latents: torch.Tensor
    labels: torch.Tensor | None
    images: "asyncio.Future[NDArray[np.uint8]]"


class Batcher:
    """Draws what waits together: rows of a batch do not depend on each other."""

    def __init__(self, on_batch: Callable[[int], None] = lambda _: None) -> None:
        """`on_batch` hears how many images were drawn together."""
        self._waiting: deque[_Part] = deque()
        self._work: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._on_batch = on_batch
        self.waiting_images = 0

    async def draw(self, model: Any, latents: torch.Tensor, labels: torch.Tensor | None) -> NDArray[np.uint8]:
        """Images [N, H, W, C] of rows.

        Args:
            model: a `Sampler`.
            latents: [N, Z].
            labels: class indices [N]; None for an unconditional generator.

        Raises:
            Refused: too much waits already.
        """
        count = len(latents)
        if self.waiting_images + count > MOST_WAITING_IMAGES:
            raise Refused(503, "too many images are waiting to be drawn; come again", retry_after_s=1)
        loop = asyncio.get_running_loop()
        parts = [
            _Part(model, latents[rows], None if labels is None else labels[rows], loop.create_future())
            for rows in (slice(at, at + TOGETHER) for at in range(0, count, TOGETHER))
        ]
        self.waiting_images += count
        self._waiting.extend(parts)
        if self._work is None:
            self._work = loop.create_task(self._draw_waiting())
        try:
            return np.concatenate(await asyncio.gather(*(part.images for part in parts)))
        finally:
            self.waiting_images -= count

    async def _draw_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while together := self._next():
                labels = [part.labels for part in together if part.labels is not None]
                latents = torch.cat([part.latents for part in together])
                asked = torch.cat(labels) if labels else None
                try:
                    images = await loop.run_in_executor(self._thread, together[0].model.draw, latents, asked)
                except Exception as error:  # whatever it is, each of those who wait has to hear it
                    _answer_all(together, error)
                    continue
                self._on_batch(len(images))
                for part in together:
                    if not part.images.done():
                        part.images.set_result(images[: len(part.latents)])
                    images = images[len(part.latents) :]
        finally:
            self._work = None

    def _next(self) -> list[_Part]:
        """The first that waits, and those after it that the same model can draw with it."""
        together: list[_Part] = []
        rows = 0
        while self._waiting:
            part = self._waiting[0]
            if part.images.done():  # nobody waits for it any more
                self._waiting.popleft()
                continue
            rows += len(part.latents)
            if together and (part.model is not together[0].model or rows > TOGETHER):
                break
            together.append(self._waiting.popleft())
        return together


def _answer_all(parts: list[_Part], error: Exception) -> None:
    for part in parts:
        if not part.images.done():
            part.images.set_exception(error)
