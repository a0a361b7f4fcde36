"""Who may talk to the quiz: its own page, opened on this machine."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 1024
_HOSTS = {"127.0.0.1", "localhost"}
_PROMISES = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Answers strangers with a line, and tells browsers what the page never does.

    Other sites cannot reach it under their own name (DNS rebinding), nor have
    a visitor's browser ask or post for them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http"

        async def promise(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_PROMISES)
            await send(message)

        refused = _refusal(scope["method"], Headers(scope=scope))
        await (refused or self._app)(scope, receive, promise)


def _refusal(method: str, headers: Headers) -> PlainTextResponse | None:
    host = headers.get("host", "")
    if _name(host) not in _HOSTS:
        return PlainTextResponse("This is not the host that was asked for.\n", 421)
    opened = method == "GET" and headers.get("sec-fetch-mode") == "navigate"  # as by a link in a message
    foreign = headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not opened
    if foreign or headers.get("origin", f"http://{host}") != f"http://{host}":
        return PlainTextResponse("Only the quiz's own page may ask.\n", 403)
    if method == "POST":
        if headers.get("content-type") != "application/json":
            return PlainTextResponse("Expected application/json.\n", 415)
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return PlainTextResponse("Expected a length.\n", 411)
        if int(length) > MOST_BODY_BYTES:
            return PlainTextResponse("That is too much.\n", 413)
    return None


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
