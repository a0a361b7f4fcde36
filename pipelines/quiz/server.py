"""The quiz as a web page with a few JSON requests; nothing that it sends tells which images are real."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ganlib.config import Options
from ganlib.metrics.estimates import Interval
from pipelines.quiz.game import Game, NoSuchThing, Player
from pipelines.quiz.guard import Guard

STATIC = Path(__file__).parent / "static"
Secret = Annotated[str, Field(max_length=100)]


class Beginning(Options):
    """Somebody wants to take part; an empty name is none."""

    name: Annotated[str, Field(max_length=200)]


class Return(Options):
    """Somebody has loaded the page again."""

    person: Secret


class Saying(Options):
    """What somebody says of the image they were shown."""

    person: Secret
    image: Secret
    generated: bool


def make_app(game: Game, image_size: int) -> Starlette:
    """The application; images have `image_size` pixels a side."""

    async def page(_request: Request) -> Response:
        return FileResponse(STATIC / "quiz.html")

    async def terms(_request: Request) -> Response:
        opening = game.opening
        images = {"images": opening.images_per_person, "image_size": image_size}
        return JSONResponse({**images, "exposure_ms": opening.exposure_ms})

    async def begin(request: Request) -> Response:
        wish = Beginning.model_validate_json(await request.body())
        secret = game.join(wish.name)
        return JSONResponse({"person": secret, **_state(game, game.player(secret))})

    async def resume(request: Request) -> Response:
        wish = Return.model_validate_json(await request.body())
        return JSONResponse(_state(game, game.player(wish.person)))

    async def answer(request: Request) -> Response:
        said = Saying.model_validate_json(await request.body())
        return JSONResponse(_state(game, game.answer(said.person, said.image, said_generated=said.generated)))

    async def image(request: Request) -> Response:
        return Response(game.png(request.path_params["address"]), media_type="image/png")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/terms", terms),
            Route("/begin", begin, methods=["POST"]),
            Route("/resume", resume, methods=["POST"]),
            Route("/answer", answer, methods=["POST"]),
            Route("/images/{address}", image),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard)],
        exception_handlers={NoSuchThing: _not_found, ValidationError: _malformed},
    )


def _state(game: Game, player: Player) -> dict[str, Any]:
    """What the page shows next: an image, or at the end how the player did."""
    state: dict[str, Any] = {"answered": len(player.answers)}
    if player.card is not None:
        return {**state, "image": player.card.address}
    tally, rates = player.person.tally, game.rates(player)
    return {
        **state,
        "result": {
            "reals": tally.reals,
            "reals_taken_for_fake": tally.reals_taken_for_fake,
            "fakes": tally.fakes,
            "fakes_taken_for_real": tally.fakes_taken_for_real,
            "error_rate": _interval(rates.overall),
        },
    }


def _interval(found: Interval) -> dict[str, float]:
    return {"estimate": found.estimate, "low": found.low, "high": found.high, "level": found.level}


def _not_found(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 404)


def _malformed(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "This is not what the page sends."}, 400)
