"""Requests that are asked for most, read and answered in the shortest way."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from pipelines.serving.problems import Refused, refusal_of


class Direct(APIRoute):
    """The route of an endpoint that takes a model, of the query or else of the body, and the request.

    OpenAPI describes it by the endpoint's signature, as any other route. What FastAPI does for dependencies, which
    such an endpoint has none of, takes longer than to read the model.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        (parameter,) = self.dependant.query_params or self.dependant.body_params
        model: type[BaseModel] = parameter.field_info.annotation  # type: ignore[assignment]
        read = _query if self.dependant.query_params else _body
        endpoint: Callable[[BaseModel, Request], Awaitable[Response]] = self.endpoint

        async def answer(request: Request) -> Response:
            try:
                asked = await read(model, request)
            except ValidationError as error:
                raise refusal_of(error) from None
            return await endpoint(asked, request)

        return answer


async def _query(model: type[BaseModel], request: Request) -> BaseModel:
    return model.model_validate(dict(request.query_params))


async def _body(model: type[BaseModel], request: Request) -> BaseModel:
    if "json" not in request.headers.get("content-type", ""):
        raise Refused(415, "expected JSON with the header Content-Type: application/json")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(400, f"the body is not JSON ({first['ctx']['error']})") from None
        raise
