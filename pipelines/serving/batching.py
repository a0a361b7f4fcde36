"""Images for many requests at once, drawn in one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ganlib.marking import Origin, marked_png
from pipelines.provenance.made import record
from pipelines.serving.limits import MOST_WAITING_IMAGES
from pipelines.serving.problems import Refused

# Most images drawn together; a request for more is drawn in parts, so that small ones need not wait for all of it.
TOGETHER = 64
T = TypeVar("T")


@dataclass(frozen=True)
class _Part:
    """Up to `TOGETHER` images of one request."""

    model: Any
    latents: torch.Tensor
    labels: torch.Tensor | None
    origins: Sequence[Origin]
    files: "asyncio.Future[list[bytes]]"


class Batcher:
    """Draws what waits together: rows of a batch do not depend on each other."""

    def __init__(self, on_batch: Callable[[int], None] = lambda _: None) -> None:
        """`on_batch` hears how many images were drawn together."""
        self._waiting: deque[_Part] = deque()
        self._work: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._on_batch = on_batch
        self.waiting_images = 0

    async def draw(
        self, model: Any, latents: torch.Tensor, labels: torch.Tensor | None, origins: Sequence[Origin]
    ) -> list[bytes]:
        """A marked PNG file of each row, once the log has it.

        Args:
            model: a `Sampler`.
            latents: [N, Z].
            labels: class indices [N]; None for an unconditional generator.
            origins: of the N images.

        Raises:
            Refused: too much waits already.
        """
        count = len(latents)
        loop = asyncio.get_running_loop()
        parts = [
            _Part(model, latents[rows], None if labels is None else labels[rows], origins[rows], loop.create_future())
            for rows in (slice(at, at + TOGETHER) for at in range(0, count, TOGETHER))
        ]
        with self._counted(count):
            self._waiting.extend(parts)
            if self._work is None:
                self._work = loop.create_task(self._draw_waiting())
            drawn = await asyncio.gather(*(part.files for part in parts))
        return [file for files in drawn for file in files]

    async def prepare(self, function: Callable[[], T], count: int) -> T:
        """What a function gives that takes as long as so many images, in the thread that draws.

        Raises:
            Refused: too much waits already.
        """
        with self._counted(count):
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    @contextmanager
    def _counted(self, count: int) -> Iterator[None]:
        if self.waiting_images + count > MOST_WAITING_IMAGES:
            raise Refused(503, "too many images are waiting to be drawn; come again", retry_after_s=1)
        self.waiting_images += count
        try:
            yield
        finally:
            self.waiting_images -= count

    async def _draw_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while together := self._next():
                try:
                    files = await loop.run_in_executor(self._thread, _make, together)
                except Exception as error:  # whatever it is, each of those who wait has to hear it
                    _answer_all(together, error)
                    continue
                self._on_batch(len(files))
                for part in together:
                    if not part.files.done():
                        part.files.set_result(files[: len(part.latents)])
                    files = files[len(part.latents) :]
        finally:
            self._work = None

    def _next(self) -> list[_Part]:
        """The first that waits, and those after it that the same model can draw with it."""
        together: list[_Part] = []
        rows = 0
        while self._waiting:
            part = self._waiting[0]
            if part.files.done():  # nobody waits for it any more
                self._waiting.popleft()
                continue
            rows += len(part.latents)
            if together and (part.model is not together[0].model or rows > TOGETHER):
                break
            together.append(self._waiting.popleft())
        return together


def _make(together: Sequence[_Part]) -> list[bytes]:
    """Draw parts that one model can draw together, write the log, and make files of the images."""
    labels = [part.labels for part in together if part.labels is not None]
    latents = torch.cat([part.latents for part in together])
    images = together[0].model.draw(latents, torch.cat(labels) if labels else None)
    origins = [origin for part in together for origin in part.origins]
    return on_record(zip(images, origins, strict=True))


def on_record(made: Iterable[tuple[NDArray[np.uint8], Origin]]) -> list[bytes]:
    """Images [H, W, C] as files that tell their origin, once the log has them."""
    made = list(made)
    record(made, by="gan serve")
    return [marked_png(image, origin) for image, origin in made]


def _answer_all(parts: list[_Part], error: Exception) -> None:
    for part in parts:
        if not part.files.done():
            part.files.set_exception(error)
