"""What a server of a generator answers: images of seeds and classes."""

import asyncio
import base64
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from PIL import Image

from ganlib.errors import UserError
from ganlib.marking import Origin
from ganlib.sampling import image_grid
from pipelines.registry.served import LoadedVersion, SampleRequest, Samples
from pipelines.serving.answering import PNG, origin_headers
from pipelines.serving.asking import Invocations, Predictions, SampleQuery, ServedModel, image_count, within
from pipelines.serving.batching import Batcher, on_record
from pipelines.serving.direct import Direct
from pipelines.serving.following import Following
from pipelines.serving.limits import Limits
from pipelines.serving.problems import Refused


def add_drawing(app: FastAPI, following: Following, limits: Limits, batcher: Batcher) -> None:
    """Have an application answer its requests.

    Args:
        app: the application.
        following: the version to draw with.
        limits: of the server.
        batcher: draws what is asked for.
    """

    async def draw(served: LoadedVersion, request: SampleRequest) -> tuple[list[bytes], list[Origin]]:
        allowed = within(limits, request)
        try:
            async with asyncio.timeout(limits.timeout_s):
                if allowed.rejection:
                    wanted = image_count(allowed)
                    latents, labels, attempts = await batcher.prepare(partial(served.rows, allowed), wanted)
                    origins = served.model.origins(allowed, labels, attempts)
                else:
                    latents, labels, _ = served.rows(allowed)
                    origins = served.model.origins(allowed, labels)
                return await batcher.draw(served.model, latents, labels, origins), origins
        except UserError as error:
            raise Refused(422, str(error)) from None
        except TimeoutError:
            raise Refused(
                503, f"drawing took more than {limits.timeout_s:g} s; ask for fewer", retry_after_s=1
            ) from None

    async def sample(query: Annotated[SampleQuery, Query()], http: Request) -> Response:
        """A PNG file; more than one image as a grid."""
        served = following.current
        asked = query.request()
        tag = _tag(served, query)
        if http.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        files, origins = await draw(served, asked)
        alike = query.label is not None
        file = files[0] if len(files) == 1 else await asyncio.to_thread(_grid, files, origins, alike=alike)
        return Response(file, media_type="image/png", headers={**origin_headers(served), "ETag": tag})

    async def invocations(asked: Invocations, _http: Request) -> Response:
        """As MLflow's own server answers, with the same bytes."""
        served = following.current
        if len(asked.inputs) == 1:  # needs no task of its own
            drawn = [await draw(served, asked.inputs[0])]
        else:
            drawn = await asyncio.gather(*(draw(served, each) for each in asked.inputs))
        answer = Predictions(
            predictions=[
                Samples(
                    seed=each.seed or 0,
                    labels=[str(origin.request["label"]) for origin in origins if origin.request["label"] is not None],
                    images=[base64.b64encode(file).decode() for file in files],
                )
                for each, (files, origins) in zip(asked.inputs, drawn, strict=True)
            ]
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    add = partial(app.router.add_api_route, route_class_override=Direct)
    add("/sample", sample, methods=["GET"], responses=PNG, response_class=Response)
    add("/invocations", invocations, methods=["POST"], responses={200: {"model": Predictions}})

    @app.get("/model")
    async def model() -> ServedModel:
        """What is served, and within which limits."""
        served = following.current
        image = served.model.generator.image
        return ServedModel(
            name=served.name,
            version=served.number,
            generator_sha256=served.generator_sha256,
            classes=list(image.classes) if served.model.generator.conditional else [],
            image_size=image.size,
            channels=image.channels,
            most_images=limits.images,
            highest_truncation=limits.truncation,
            least_rejection=limits.rejection,
        )


def _tag(served: LoadedVersion, query: SampleQuery) -> str:
    asked = f"{served.generator_sha256} {served.number} {query.model_dump_json()}"
    return f'"{hashlib.sha256(asked.encode()).hexdigest()[:32]}"'


def _grid(files: Sequence[bytes], origins: Sequence[Origin], *, alike: bool) -> bytes:
    """One file of many; `alike` where all are of the first one's class, else classes take turns."""
    pixels = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    images = np.stack([each if each.ndim == 3 else each[:, :, None] for each in pixels])
    columns = math.ceil(math.sqrt(len(images)))
    request = {key: value for key, value in origins[0].request.items() if key != "index"}
    request |= {"count": len(images), "columns": columns, "scale": 1}
    if not alike:
        request["label"] = None
    if "attempts" in request:
        request["attempts"] = [attempt for origin in origins for attempt in origin.request["attempts"]]
    return on_record([(image_grid(images, columns=columns), replace(origins[0], request=request))])[0]
