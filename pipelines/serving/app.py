"""The pages and requests of a server."""

import asyncio
import base64
import hashlib
import io
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.exceptions import HTTPException

from ganlib.errors import UserError
from ganlib.marking import Origin
from ganlib.sampling import image_grid
from pipelines.registry.served import LoadedVersion, SampleRequest, Samples
from pipelines.serving.asking import Health, Invocations, Predictions, SampleQuery, ServedModel, image_count, within
from pipelines.serving.batching import Batcher, on_record
from pipelines.serving.following import Following
from pipelines.serving.gauges import CONTENT_TYPE, Gauges
from pipelines.serving.guard import Guard
from pipelines.serving.limits import Limits
from pipelines.serving.problems import Problem, Refused

STATIC = Path(__file__).parent / "static"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "Not a request", 408: "Too slow", 413: "Too large", 415: "Not JSON",
        421: "Another host", 422: "Not as expected", 429: "Too often", 503: "Too much waits",
    }.items()
}  # fmt: skip
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG file"}}


def make_app(
    following: Following, *, limits: Limits, hosts: Collection[str], gauges: Gauges, check_every_s: float
) -> FastAPI:
    """The application.

    Args:
        following: the version to draw with.
        limits: of the server.
        hosts: names by which it may be asked.
        gauges: are told of every request and batch.
        check_every_s: how often the registry is asked whether the alias has moved.
    """
    batcher = Batcher(gauges.drawn)

    @asynccontextmanager
    async def watched(_app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(following.watch(check_every_s))
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    app = FastAPI(
        title="ganlib",
        description="Images of a registered generator.",
        version=following.current.number,
        lifespan=watched,
        responses=_PROBLEMS,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )

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

    @app.get("/sample", responses=_PNG, response_class=Response)
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
        return Response(file, media_type="image/png", headers={**_origin(served), "ETag": tag})

    @app.post("/invocations")
    async def invocations(asked: Invocations) -> Predictions:
        """As MLflow's own server answers, with the same bytes."""
        served = following.current
        drawn = await asyncio.gather(*(draw(served, each) for each in asked.inputs))
        return Predictions(
            predictions=[
                Samples(
                    seed=each.seed or 0,
                    labels=[str(origin.request["label"]) for origin in origins if origin.request["label"] is not None],
                    images=[base64.b64encode(file).decode() for file in files],
                )
                for each, (files, origins) in zip(asked.inputs, drawn, strict=True)
            ]
        )

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

    @app.get("/health")
    async def health() -> Health:
        """That the server can draw, and with what."""
        return Health(model=following.current.name, version=following.current.number)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """For Prometheus."""
        served = following.current
        page = gauges.page(
            waiting_images=batcher.waiting_images,
            name=served.name,
            version=served.number,
            sha256=served.generator_sha256,
        )
        return Response(page, media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def gallery() -> Response:
        return FileResponse(STATIC / "gallery.html")

    app.mount("/static", StaticFiles(directory=STATIC))
    _answer_in_json(app)
    paths = {getattr(route, "path", "") for route in app.routes}
    app.add_middleware(
        Guard,
        limits=limits,
        hosts=hosts,
        on_answer=lambda path, *rest: gauges.answered(path if path in paths else "other", *rest),
    )
    return app


def _answer_in_json(app: FastAPI) -> None:
    """Whatever goes wrong is one line of JSON."""

    def line(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
        return JSONResponse({"error": why}, status, dict(headers or {}))

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> Response:
        wait = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
        return line(error.status, error.why, wait)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
            return line(415, "expected JSON with the header Content-Type: application/json")
        if first["type"] == "json_invalid":
            return line(400, f"the body is not JSON ({first['ctx']['error']})")
        where = ".".join(str(part) for part in first["loc"] if part not in {"query", "body"})
        why = str(first["msg"]).removeprefix("Value error, ")
        return line(422, f"{where}: {why}" if where else why)

    @app.exception_handler(HTTPException)
    async def failed(_request: Request, error: HTTPException) -> Response:
        return line(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def broken(_request: Request, error: Exception) -> Response:
        return line(500, f"drawing failed ({type(error).__name__}); the server's log says more")


def _tag(served: LoadedVersion, query: SampleQuery) -> str:
    asked = f"{served.generator_sha256} {served.number} {query.model_dump_json()}"
    return f'"{hashlib.sha256(asked.encode()).hexdigest()[:32]}"'


def _origin(served: LoadedVersion) -> dict[str, str]:
    return {
        "Cache-Control": "no-cache",
        "Ganlib-Model": f"{served.name}/{served.number}",
        "Ganlib-Generator": served.generator_sha256,
    }


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
