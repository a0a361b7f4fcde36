"""The registered model, as code: MLflow stores this file and runs it wherever the model is loaded.

It needs mlflow, the model's own requirements and the copy of ganlib logged beside it, nothing else.
"""

import base64
import io
from pathlib import Path
from typing import Any, Self

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ganlib.errors import UserError
from ganlib.packaging import ImageGenerator

MAX_IMAGES = 256


class SampleRequest(BaseModel):
    """What to draw: `count` images, or one per class name in `labels`."""

    model_config = ConfigDict(extra="forbid")

    count: int | None = Field(None, ge=1, le=MAX_IMAGES, description="1 when neither count nor labels is given")
    labels: list[str] | None = Field(None, min_length=1, max_length=MAX_IMAGES)
    seed: int = Field(0, ge=0, lt=2**32)
    truncation: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.count is not None and self.labels is not None:
            raise ValueError("give either count or labels, not both")
        return self


class Samples(BaseModel):
    """The answer: class names (none when the generator is unconditional) and PNG files in base64."""

    seed: int
    labels: list[str]
    images: list[str]


class Sampler(PythonModel):
    """Draws images; the same request gives the same bytes."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the generator from the model's artifacts."""
        self.generator = ImageGenerator.load(Path(context.artifacts["generator"]))

    def predict(  # type: ignore[override]  # MLflow accepts a signature without the context
        self, model_input: list[SampleRequest], params: dict[str, Any] | None = None
    ) -> list[Samples]:
        """Answer each request; the same request gives the same images."""
        return [self._draw(request) for request in model_input]

    def _draw(self, request: SampleRequest) -> Samples:
        names = self.generator.image.classes
        count = request.count or 1
        try:
            if request.labels is not None:
                labels = self._indices(request.labels)
            elif self.generator.conditional:
                labels = [index % len(names) for index in range(count)]
            else:
                labels = None
            images = self.generator.sample(
                seed=request.seed,
                count=count if labels is None else None,
                labels=labels,
                truncation=request.truncation,
            )
        except UserError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        return Samples(
            seed=request.seed,
            labels=[names[index] for index in labels or []],
            images=[_png(image) for image in images],
        )

    def _indices(self, wanted: list[str]) -> list[int]:
        names = self.generator.image.classes
        if not self.generator.conditional:
            raise UserError("labels: this generator is unconditional; ask for a count instead")
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise UserError(f"labels: no class {unknown[0]!r}; expected some of {', '.join(names)}")
        return [names.index(name) for name in wanted]


def _png(pixels: NDArray[np.uint8]) -> str:
    """A uint8 image [H, W, C] as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


mlflow.models.set_model(Sampler())
