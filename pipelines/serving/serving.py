"""`gan serve`: a registered model behind HTTP until it is ended."""

import gc
import sys
from collections.abc import Sequence

from pipelines.graph import supervisor
from pipelines.listening import listen, serve
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
    with listen(host, port) as listener, supervisor.signals_unwind():
        following = Following(address, say=say, on_swap=gauges.swapped)
        number = following.current.number
        hosts = {*_LOOPBACK, host, *allowed_hosts}
        app = make_app(following, limits=limits, hosts=hosts, gauges=gauges, check_every_s=check_every_s)
        shown = f"[{host}]" if ":" in host else host
        say(f"serve: {model}, version {number}, at http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends it)")
        sys.setswitchinterval(_SWITCH_S)
        # To look through all that is loaded takes up to a second, for which every request would wait.
        gc.collect()
        gc.freeze()
        serve(app, listener, last_requests_s=_LAST_REQUESTS_S)
