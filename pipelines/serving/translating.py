"""What a server of a translator answers: images made of images."""

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from PIL import Image

from ganlib.errors import UserError
from ganlib.marking import Origin, read_origin
from pipelines.opening import opened_image
from pipelines.provenance.made import record
from pipelines.registry.served import LoadedVersion, TranslateRequest, Translations
from pipelines.serving.answering import PNG, origin_headers
from pipelines.serving.asking import ServedTranslator, TranslateInvocations, TranslatePredictions, TranslateQuery
from pipelines.serving.following import Following
from pipelines.serving.limits import MOST_WAITING_TRANSLATIONS, Limits
from pipelines.serving.problems import Refused

_ANY_IMAGE = {
    kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/*", "application/octet-stream")
}


class Queue:
    """Translates for one request after another, in a thread of its own."""

    def __init__(self, on_batch: Callable[[int], None]) -> None:
        """`on_batch` hears how many images were made for a request."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="translate")
        self._on_batch = on_batch
        self.waiting_images = 0

    async def translate(
        self, served: LoadedVersion, requests: Sequence[TranslateRequest], limits: Limits
    ) -> list[Translations]:
        """What the registered model answers, once the log has its images.

        Raises:
            Refused: an image is none or too large, too many are asked for or wait already, or it takes too long.
        """
        count = _checked(requests, limits)
        if self.waiting_images + count > MOST_WAITING_TRANSLATIONS:
            raise Refused(503, "too many images are waiting to be translated; come again", retry_after_s=1)
        self.waiting_images += count
        try:
            async with asyncio.timeout(limits.timeout_s):
                answers = await asyncio.get_running_loop().run_in_executor(self._thread, _make, served, requests)
        except TimeoutError:
            raise Refused(
                503, f"translating took more than {limits.timeout_s:g} s; send a smaller image", retry_after_s=1
            ) from None
        except UserError as error:
            raise Refused(422, str(error)) from None
        finally:
            self.waiting_images -= count
        self._on_batch(count)
        return answers


def add_translating(app: FastAPI, following: Following, limits: Limits, queue: Queue) -> None:
    """Have an application answer its requests.

    Args:
        app: the application.
        following: the version to translate with.
        limits: of the server.
        queue: makes what is asked for.
    """

    @app.post(
        "/translate",
        responses=PNG,
        response_class=Response,
        openapi_extra={"requestBody": {"required": True, "content": _ANY_IMAGE}},
    )
    async def translate(query: Annotated[TranslateQuery, Query()], http: Request) -> Response:
        """A PNG file, made of the image that is the body of the request."""
        served, kind = following.current, http.headers.get("content-type", "")
        # Pages of other sites cannot send these kinds without being asked about it first.
        if not kind.startswith("image/") and kind != "application/octet-stream":
            raise Refused(
                415, "expected an image file as the body, with the header Content-Type: image/png or the like"
            )
        encoded = base64.b64encode(await http.body()).decode()
        request = TranslateRequest(images=[encoded], seed=query.seed, to=query.to)
        (answer,) = await queue.translate(served, [request], limits)
        return Response(base64.b64decode(answer.images[0]), media_type="image/png", headers=origin_headers(served))

    @app.post("/invocations")
    async def invocations(asked: TranslateInvocations) -> TranslatePredictions:
        """As MLflow's own server answers, with the same bytes."""
        return TranslatePredictions(predictions=await queue.translate(following.current, asked.inputs, limits))

    @app.get("/model")
    async def model() -> ServedTranslator:
        """What is served, and within which limits."""
        served = following.current
        return ServedTranslator(
            name=served.name,
            version=served.number,
            generator_sha256=served.generator_sha256,
            makes=list(served.model.translating.made_kinds(served.model.generator)),
            channels=served.model.generator.image.channels,
            most_images=limits.images,
            most_pixels=limits.pixels,
        )


def _checked(requests: Sequence[TranslateRequest], limits: Limits) -> int:
    """How many images are sent; none of them has been decoded yet.

    Raises:
        Refused: too many, or one that is none or too large.
    """
    files = [image for each in requests for image in each.images]
    if len(files) > limits.images:
        raise Refused(422, f"{len(files)} images sent; this server translates at most {limits.images} a request")
    for number, encoded in enumerate(files, start=1):
        try:
            file = io.BytesIO(base64.b64decode(encoded, validate=True))
        except ValueError as error:
            raise Refused(422, f"image {number}: expected base64 ({error})") from None
        try:
            with opened_image(file, name=f"image {number}", most_pixels=limits.pixels, limit="this server's limit"):
                pass
        except UserError as error:
            raise Refused(422, str(error)) from None
    return len(files)


def _make(served: LoadedVersion, requests: Sequence[TranslateRequest]) -> list[Translations]:
    answers = served.translations(requests)
    record([_recorded(image) for answer in answers for image in answer.images], by="gan serve")
    return answers


def _recorded(encoded: str) -> tuple[NDArray[np.uint8], Origin]:
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as opened:
        origin, pixels = read_origin(opened), np.asarray(opened)
    assert origin is not None, "the registered model marks what it makes"
    return pixels if pixels.ndim == 3 else pixels[:, :, None], origin
