"""Who may ask a server, how much and how fast."""

import asyncio
import json
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.limits import MOST_BODY_BYTES, Limits
from pipelines.serving.problems import Refused

_PROMISES = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_WINDOW_S = 60.0


class Guard:
    """Answers what is not allowed with a line, before the application sees it; counts every request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        hosts: Collection[str],
        on_answer: Callable[[str, int, float], None],
    ) -> None:
        """Stand before an application.

        Args:
            app: the application.
            limits: of the server.
            hosts: names by which it may be asked, so that other sites cannot reach it under theirs (DNS rebinding).
            on_answer: hears path, status and seconds of each request.
        """
        self._app, self._limits, self._hosts, self._on_answer = app, limits, set(hosts), on_answer
        self._asked: dict[str, list[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500

        async def promise(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_PROMISES]
            await send(message)

        try:
            try:
                self._check(scope)
                body = await self._body(Headers(scope=scope), receive)
            except Refused as refused:
                await answer_problem(refused, promise)
                return
            except ClientDisconnect:
                return
            await self._app(scope, _replay(body, receive), promise)
        finally:
            self._on_answer(scope["path"], status, time.monotonic() - begun)

    def _check(self, scope: Scope) -> None:
        host = Headers(scope=scope).get("host", "")
        if _name(host) not in self._hosts:
            raise Refused(421, f"host {host[:100]!r} is not served here; the operator can allow it (--allow-host)")
        most = self._limits.requests_per_minute
        if most is not None and scope["path"] not in {"/health", "/metrics"}:
            self._count(scope["client"][0] if scope.get("client") else "", most)

    def _count(self, client: str, most: int) -> None:
        now = time.monotonic()
        if len(self._asked) > 10_000:  # those who have not asked for a while are forgotten
            self._asked = {who: times for who, times in self._asked.items() if times[-1] > now - _WINDOW_S}
        times = [each for each in self._asked.get(client, ()) if each > now - _WINDOW_S]
        if len(times) >= most:
            wait_s = max(1, round(times[0] + _WINDOW_S - now))
            raise Refused(429, f"more than {most} requests a minute; come again in {wait_s} s", retry_after_s=wait_s)
        self._asked[client] = [*times, now]

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        too_much = Refused(413, f"the request is larger than {MOST_BODY_BYTES} bytes")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            raise too_much
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    if len(body) > MOST_BODY_BYTES:
                        raise too_much
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(408, f"the request did not arrive within {self._limits.timeout_s:g} s") from None


async def answer_problem(refused: Refused, send: Send) -> None:
    """The line of a refusal as JSON."""
    body = json.dumps({"error": refused.why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.retry_after_s is not None:
        headers.append((b"retry-after", str(refused.retry_after_s).encode()))
    if refused.status in {408, 413}:
        headers.append((b"connection", b"close"))  # what else is sent is not read
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body that has arrived, then what the connection says."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
