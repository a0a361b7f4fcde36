"""`gan serve`: a registered model behind HTTP until it is ended."""

import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

import uvicorn

from ganlib.errors import UserError
from pipelines.graph import supervisor
from pipelines.registry.served import ModelAddress
from pipelines.serving.app import make_app
from pipelines.serving.following import Following
from pipelines.serving.gauges import Gauges
from pipelines.serving.limits import Limits
from pipelines.stages.shell import say

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LAST_REQUESTS_S = 10
# The thread that draws holds the interpreter for 5 ms at a time otherwise, for which requests would wait.
_SWITCH_S = 0.0002


def serve_model(
    model: str, *, host: str, port: int, allowed_hosts: Sequence[str], limits: Limits, check_every_s: float
) -> None:
    """Serve until Ctrl-C or a signal; requests that have begun are answered.

    Raises:
        UserError: no such version, it cannot be loaded, or the port is taken.
    """
    address, gauges = ModelAddress.parse(model), Gauges()
    with _listen(host, port) as listener, supervisor.signals_unwind():
        following = Following(address, say=say, on_swap=gauges.swapped)
        number = following.current.number
        if following.current.translates:
            raise UserError(
                f"{model}: version {number} translates images, which gan serve does not; "
                f"use `mlflow models serve -m {model}`"
            )
        hosts = {*_LOOPBACK, host, *allowed_hosts}
        app = make_app(following, limits=limits, hosts=hosts, gauges=gauges, check_every_s=check_every_s)
        shown = f"[{host}]" if ":" in host else host
        say(f"serve: {model}, version {number}, at http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends it)")
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        )
        sys.setswitchinterval(_SWITCH_S)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror}; choose another one") from None
    # What it accepts inherits this. asyncio sets it for sockets of its own only; without it, half of an answer waits
    # 40 ms for the other side's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
