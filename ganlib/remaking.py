"""Images made again from what a generator was asked for.

A request has a `seed`, and may have a `label` (of all images; classes take turns without one), a `truncation`, and
`toward_seed` with `mix`. Of an image it has its `index` in the draw; of a grid its `count`, `columns` and `scale`.
Where samples were refused, `attempts` has the one at which each image was found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError, model_validator

from ganlib.config.base import MODES, Options
from ganlib.errors import UserError
from ganlib.metrics.reconstruction import HIGHEST_PSNR, psnr
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, image_grid

_MOST_IMAGES, _MOST_ATTEMPTS = 10_000, 64
# Images of other seeds, and by how much a picture has to be nearer than they are: half the distance.
_OTHER_SEEDS, _MARGIN_DB = 20, 6.0
Seed = Annotated[int, Field(ge=0)]


class Request(Options):
    """What is asked for; see this file's beginning."""

    seed: Seed
    label: str | None = None
    truncation: float = 1.0
    toward_seed: Seed | None = None
    mix: Annotated[float, Field(ge=0, le=1)] | None = None
    index: Annotated[int, Field(ge=0, lt=_MOST_IMAGES)] | None = None
    count: Annotated[int, Field(ge=1, le=_MOST_IMAGES)] | None = None
    columns: Annotated[int, Field(ge=1, le=_MOST_IMAGES)] | None = None
    scale: Annotated[int, Field(ge=1, le=64)] | None = None
    attempts: tuple[Annotated[int, Field(ge=0, lt=_MOST_ATTEMPTS)], ...] | None = None

    @model_validator(mode="after")
    def _one_image_or_a_grid(self) -> Self:
        grid = (self.count, self.columns, self.scale)
        if any(each is None for each in grid) if self.index is None else any(each is not None for each in grid):
            raise ValueError("give index, or count, columns and scale")
        if (self.toward_seed is None) != (self.mix is None):
            raise ValueError("give toward_seed and mix together")
        if self.attempts is not None and len(self.attempts) != (1 if self.count is None else self.count):
            raise ValueError("give as many attempts as images")
        return self


def remake(generator: ImageGenerator, request: Mapping[str, Any]) -> Images:
    """The image or grid of a request, uint8 [H, W, C].

    Raises:
        UserError: it is no request, or out of range.
    """
    image: Images = _remake_all(generator, [request])[0]
    return image


def _remake_all(generator: ImageGenerator, requests: Sequence[Mapping[str, Any]]) -> Images:
    """The images or grids of requests that differ in nothing but seeds, uint8 [N, H, W, C]."""
    asked = [_asked(request) for request in requests]
    first = asked[0]
    if first.index is None:
        assert first.count is not None
        assert first.columns is not None
        assert first.scale is not None
        labels = _labels(generator, first.count, first.label)
        drawn = [generator.draw(_latents(generator, each, first.count), labels) for each in asked]
        return np.stack([image_grid(images, columns=first.columns, scale=first.scale) for images in drawn])
    count = first.index + 1
    latents = torch.stack([_latents(generator, each, count)[first.index] for each in asked])
    labels = _labels(generator, count, first.label)
    return generator.draw(latents, None if labels is None else labels[first.index].expand(len(asked)))


def _asked(request: Mapping[str, Any]) -> Request:
    try:
        return Request.model_validate(request)
    except ValidationError as error:
        raise UserError(f"request {dict(request)}: {error.errors()[0]['msg']}") from None


@dataclass(frozen=True)
class Remade:
    """A picture beside the image that a request gives.

    Attributes:
        exact: every pixel is the same.
        psnr_db: of the picture, brought to the image's size and channels.
        threshold_db: a higher one no other seed comes near to: the picture is the image, somewhat changed.
    """

    exact: bool
    psnr_db: float
    threshold_db: float

    @property
    def near(self) -> bool:
        """Whether the picture is the image, be it resized, compressed or otherwise changed a little."""
        return self.exact or self.psnr_db > self.threshold_db


def compare(pixels: NDArray[np.uint8], generator: ImageGenerator, request: Mapping[str, Any]) -> Remade:
    """Make the image of a request again and compare a picture, uint8 [H, W, C], with it.

    Raises:
        UserError: it is no request, or out of range.
    """
    image = remake(generator, request)
    if np.array_equal(image, pixels):
        return Remade(exact=True, psnr_db=float(HIGHEST_PSNR), threshold_db=float(HIGHEST_PSNR))
    others = _remake_all(generator, [_of_other_seeds(request, place) for place in range(_OTHER_SEEDS)])
    nearest_db = psnr(others, np.broadcast_to(image, others.shape)).max()
    found_db = psnr(_as_image(pixels, image.shape)[None], image[None])[0]
    return Remade(
        exact=False,
        psnr_db=float(min(found_db, HIGHEST_PSNR)),
        threshold_db=float(min(nearest_db + _MARGIN_DB, HIGHEST_PSNR)),
    )


def _of_other_seeds(request: Mapping[str, Any], place: int) -> dict[str, Any]:
    other = {**request, "seed": request["seed"] + 1 + place}
    if request.get("toward_seed") is not None:
        other["toward_seed"] = request["toward_seed"] + 1 + _OTHER_SEEDS + place
    return other


def _as_image(pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> Images:
    height, width, channels = shape
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    picture = picture.convert(MODES[channels])
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(shape)


def _latents(generator: ImageGenerator, asked: Request, count: int) -> torch.Tensor:
    """[count, Z]; of one image with attempts, all rows are of its attempt."""
    by_row = torch.tensor(asked.attempts or (0,)).expand(count)
    latents = torch.empty(count, generator.network.latent_dim)
    for attempt in sorted(set(by_row.tolist())):
        rows = by_row == attempt
        latents[rows] = generator.latents(
            count,
            seed=asked.seed,
            truncation=asked.truncation,
            toward_seed=asked.toward_seed,
            mix=asked.mix,
            attempt=attempt,
        )[rows]
    return latents


def _labels(generator: ImageGenerator, count: int, label: str | None) -> torch.Tensor | None:
    names = generator.image.classes
    if not generator.conditional:
        return None
    if label is None:
        return balanced_labels(count, len(names))
    if label not in names:
        raise UserError(f"label {label}: unknown, expected one of {', '.join(names)}")
    return torch.full((count,), names.index(label))
