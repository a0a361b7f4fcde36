"""What the pages and programs of a server's users ask for."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.registry.served import MOST_REJECTED, SampleRequest, Samples, TranslateRequest, Translations
from pipelines.serving.limits import Limits
from pipelines.serving.problems import Refused, refusal_of

Seed = Annotated[int, Field(ge=0, lt=2**32, description="The same seed gives the same images.")]


class SampleQuery(BaseModel):
    """Images of one class, or of classes in turn."""

    model_config = ConfigDict(extra="forbid")

    seed: Seed = 0
    n: Annotated[int, Field(ge=1, le=256, description="How many images; more than one come as a grid.")] = 1
    label: Annotated[str | None, Field(max_length=200, description="A class name or index.")] = None
    truncation: Annotated[float | None, Field(gt=0, le=1, description="Lower is more typical and less varied.")] = None
    toward_seed: Annotated[int | None, Field(ge=0, lt=2**32, description="Another seed, to go towards.")] = None
    mix: Annotated[float | None, Field(ge=0, le=1, description="How far towards toward_seed.")] = None
    rejection: Annotated[
        float | None, Field(ge=0, le=MOST_REJECTED, description="Share of samples that the critic refuses.")
    ] = None

    def request(self) -> SampleRequest:
        """As the registered model is asked.

        Raises:
            Refused: what is asked for does not go together.
        """
        try:
            return SampleRequest(
                count=self.n if self.label is None else None,
                labels=None if self.label is None else [self.label] * self.n,
                seed=self.seed,
                truncation=self.truncation,
                toward_seed=self.toward_seed,
                mix=self.mix,
                rejection=self.rejection,
            )
        except ValidationError as error:
            raise refusal_of(error) from None


class Invocations(BaseModel):
    """Requests as MLflow's own server takes them."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[SampleRequest], Field(min_length=1, max_length=256)]


class Predictions(BaseModel):
    """An answer to each request, as MLflow's own server gives them."""

    predictions: list[Samples]


class ServedModel(BaseModel):
    """What is served, and within which limits."""

    name: str
    version: str
    generator_sha256: str
    classes: list[str]
    image_size: int
    channels: int
    most_images: int
    highest_truncation: float
    least_rejection: float


class TranslateQuery(BaseModel):
    """How the image is to be translated."""

    model_config = ConfigDict(extra="forbid")

    seed: Annotated[int, Field(ge=0, lt=2**32, description="Another seed gives another translation.")] = 0
    to: Annotated[str | None, Field(max_length=200, description="The kind of image to make; see `makes`.")] = None


class TranslateInvocations(BaseModel):
    """Requests as MLflow's own server takes them."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[list[TranslateRequest], Field(min_length=1, max_length=256)]


class TranslatePredictions(BaseModel):
    """An answer to each request, as MLflow's own server gives them."""

    predictions: list[Translations]


class ServedTranslator(BaseModel):
    """What is served, and within which limits."""

    name: str
    version: str
    generator_sha256: str
    makes: list[str]
    channels: int
    most_images: int
    most_pixels: int


class Health(BaseModel):
    """The server can answer."""

    status: Literal["ok"] = "ok"
    model: str
    version: str


def image_count(request: SampleRequest) -> int:
    """How many images are asked for."""
    return len(request.labels) if request.labels is not None else request.count or 1


def within(limits: Limits, request: SampleRequest) -> SampleRequest:
    """The request, which the operator allows; what it does not name is the highest truncation and the least rejection.

    Raises:
        Refused: it goes beyond a limit.
    """
    images = image_count(request)
    if images > limits.images:
        raise Refused(422, f"{images} images asked for; this server draws at most {limits.images} a request")
    truncation = limits.truncation if request.truncation is None else request.truncation
    rejection = limits.rejection if request.rejection is None else request.rejection
    if truncation > limits.truncation:
        raise Refused(422, f"truncation {truncation:g} is above {limits.truncation:g}, this server's highest")
    if rejection < limits.rejection:
        raise Refused(422, f"rejection {rejection:g} is below {limits.rejection:g}, this server's least")
    return request.model_copy(update={"truncation": truncation, "rejection": rejection})
