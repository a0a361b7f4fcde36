"""Images made again from what a generator was asked for.

A request has a `seed`, and may have a `label` (of all images; classes take turns without one), a `truncation`, and
`toward_seed` with `mix`. Of an image it has its `index` in the draw; of a grid its `count`, `columns` and `scale`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import torch
from pydantic import Field, ValidationError, model_validator

from ganlib.config.base import Options
from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator
from ganlib.sampling import Images, balanced_labels, image_grid

_MOST_IMAGES = 10_000
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

    @model_validator(mode="after")
    def _one_image_or_a_grid(self) -> Self:
        grid = (self.count, self.columns, self.scale)
        if any(each is None for each in grid) if self.index is None else any(each is not None for each in grid):
            raise ValueError("give index, or count, columns and scale")
        if (self.toward_seed is None) != (self.mix is None):
            raise ValueError("give toward_seed and mix together")
        return self


def remake(generator: ImageGenerator, request: Mapping[str, Any]) -> Images:
    """The image or grid of a request, uint8 [H, W, C].

    Raises:
        UserError: it is no request, or out of range.
    """
    try:
        asked = Request.model_validate(request)
    except ValidationError as error:
        raise UserError(f"request {dict(request)}: {error.errors()[0]['msg']}") from None
    count = asked.count if asked.index is None else asked.index + 1
    assert count is not None
    latents = generator.latents(
        count, seed=asked.seed, truncation=asked.truncation, toward_seed=asked.toward_seed, mix=asked.mix
    )
    rows = slice(None) if asked.index is None else slice(asked.index, None)
    labels = _labels(generator, count, asked.label)
    images = generator.draw(latents[rows], None if labels is None else labels[rows])
    if asked.index is not None:
        one: Images = images[0]
        return one
    assert asked.columns is not None
    assert asked.scale is not None
    return image_grid(images, columns=asked.columns, scale=asked.scale)


def _labels(generator: ImageGenerator, count: int, label: str | None) -> torch.Tensor | None:
    names = generator.image.classes
    if not generator.conditional:
        return None
    if label is None:
        return balanced_labels(count, len(names))
    if label not in names:
        raise UserError(f"label {label}: unknown, expected one of {', '.join(names)}")
    return torch.full((count,), names.index(label))
