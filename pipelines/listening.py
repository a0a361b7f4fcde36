"""Applications of ours behind HTTP, on a socket that is taken before anything else is done."""

import socket
from contextlib import suppress

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ganlib.errors import UserError

_MOST_HEAD_BYTES = 64 << 10
_MOST_WAITING = 1024


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, which is fast, and by h11 where httptools is wrong.

    httptools keeps all that arrives of a head: a longer one than `_MOST_HEAD_BYTES` is refused here. It loses the body
    of a request that would rather go on in another protocol, as some clients always ask: h11 reads on there.
    """

    _unfinished_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Some of what a client sends."""
        self._unset_keepalive_if_required()
        self._unfinished_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.cycle is None or self.cycle.response_complete:
                self._continue_with_h11(data[upgrade.args[0] :])
            else:  # the answer before it is still to be sent
                self.transport.close()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        else:
            if self._unfinished_bytes > _MOST_HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """The head has arrived; what follows is counted anew."""
        self._unfinished_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body has."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it has."""
        self._unfinished_bytes = 0
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return True  # is asked only where the client would: begin no request then

    def _continue_with_h11(self, rest: bytes) -> None:
        other = H11Protocol(self.config, self.server_state, self.app_state)
        self.connections.discard(self)
        other.connection_made(self.transport)
        self.transport.set_protocol(other)
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%s: %s" % header for header in self.headers]
        other.data_received(b"\r\n".join([*lines, b"", rest]))


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


def server_of(app: ASGIApp, *, last_requests_s: int) -> uvicorn.Server:
    """What serves an application; at its end, requests that have begun have so many seconds to be answered."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=last_requests_s,
        )
    )


def serve(app: ASGIApp, listener: socket.socket, *, last_requests_s: int) -> None:
    """Serve until Ctrl-C or a signal; requests that have begun have so many seconds to be answered."""
    with suppress(KeyboardInterrupt):
        server_of(app, last_requests_s=last_requests_s).run(sockets=[listener])
