"""Applications of ours behind HTTP, on a socket that is taken before anything else is done."""

import socket
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from ganlib.errors import UserError

_MOST_WAITING = 1024


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_MOST_WAITING)
    except OSError as error:
        why = (error.strerror or "").partition(" (while")[0]  # what Python adds there is the address
        raise UserError(f"--port {port}: {why}; choose another one, or 0 for any that is free (at {host})") from None
    # What it accepts inherits this. asyncio sets it for sockets of its own only; without it, half of an answer waits
    # 40 ms for the other side's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(app: ASGIApp, listener: socket.socket, *, last_requests_s: int) -> None:
    """Serve until Ctrl-C or a signal; requests that have begun have so many seconds to be answered."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=last_requests_s,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
