"""The pages and requests of a server."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from pipelines.serving.asking import Health
from pipelines.serving.batching import Batcher
from pipelines.serving.drawing import add_drawing
from pipelines.serving.following import Following
from pipelines.serving.gauges import CONTENT_TYPE, Gauges
from pipelines.serving.guard import Guard
from pipelines.serving.limits import Limits
from pipelines.serving.problems import Problem, Refused
from pipelines.serving.translating import Queue, add_translating

STATIC = Path(__file__).parent / "static"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "Not a request", 408: "Too slow", 413: "Too large", 415: "Not JSON",
        421: "Another host", 422: "Not as expected", 429: "Too often", 503: "Too much waits",
    }.items()
}  # fmt: skip


def make_app(
    following: Following, *, limits: Limits, hosts: Collection[str], gauges: Gauges, check_every_s: float
) -> FastAPI:
    """The application.

    Args:
        following: the version to serve, a generator or a translator.
        limits: of the server.
        hosts: names by which it may be asked.
        gauges: are told of every request and batch.
        check_every_s: how often the registry is asked whether the alias has moved.
    """

    @asynccontextmanager
    async def watched(_app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(following.watch(check_every_s))
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    app = FastAPI(
        title="ganlib",
        description="Images of a registered model.",
        version=following.current.number,
        lifespan=watched,
        responses=_PROBLEMS,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )

    work: Batcher | Queue
    if following.current.translates:
        page, work = "translate.html", Queue(gauges.drawn)
        add_translating(app, following, limits, work)
    else:
        page, work = "gallery.html", Batcher(gauges.drawn)
        add_drawing(app, following, limits, work)

    @app.get("/health")
    async def health() -> Health:
        """That the server can answer, and with what."""
        return Health(model=following.current.name, version=following.current.number)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """For Prometheus."""
        served = following.current
        figures = gauges.page(
            waiting_images=work.waiting_images,
            name=served.name,
            version=served.number,
            sha256=served.generator_sha256,
        )
        return Response(figures, media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def gallery() -> Response:
        return FileResponse(STATIC / page)

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
        if first["loc"][0] == "body" and "json" not in request.headers.get("content-type", ""):
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
        return line(500, f"it failed ({type(error).__name__}); the server's log says more")
