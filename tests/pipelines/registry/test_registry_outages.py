"""The store goes away at any moment: what is told, and that running again ends in the same state."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from ganlib.errors import UserError
from pipelines.tracking import store
from tests.mlflow_server import MlflowServer, free_port
from tests.registered import TAGS, make_generator, state, submit

pytestmark = pytest.mark.integration


def test_a_registry_that_is_away(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=r"no answer \(connection refused\); start it again with"):
        submit(make_generator(project / "generator", 1), 3.0)


class Proxy:
    """A way to the server that breaks for good after a number of writes."""

    def __init__(self, target: str) -> None:
        self.writes: list[str] = []
        self.limit: int | None = None
        self.broken = False
        self.without_files = False
        proxy = self
        self._client = httpx.Client(base_url=target, timeout=30)

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                if not proxy.may_pass(self.command, self.path):
                    self.connection.close()
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                answer = proxy._client.request(self.command, self.path, content=body, headers=headers)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def may_pass(self, method: str, path: str) -> bool:
        if self.without_files and method == "GET" and "mlflow-artifacts" in path:
            return False
        reads = method == "GET" or "search" in path
        if self.limit is not None and (self.broken or (not reads and len(self.writes) >= self.limit)):
            self.broken = True
            return False
        if not reads:
            self.writes.append(f"{method} {path}")
        return True

    def break_after(self, writes: int) -> None:
        self.writes, self.limit, self.broken = [], writes, False

    def mend(self) -> None:
        self.limit = None

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._client.close()


@pytest.fixture
def proxy(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    yield proxy
    proxy.stop()


def test_a_store_that_has_no_files_for_the_moment_is_no_verdict(proxy: Proxy, project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0, name="passing")
    proxy.without_files = True
    with pytest.raises(
        UserError, match=r"^MLFLOW_TRACKING_URI=http://127\.0\.0\.1:\d+: no answer \(connection broken\)"
    ):
        submit(two, 0.1, name="passing")
    assert state("passing")["aliases"] == {"challenger": "2", "champion": "1"}
    assert "gate.promoted" not in store.connect().get_model_version("passing", "2").tags
    proxy.without_files = False
    assert submit(two, 0.1, name="passing").verdict.promoted


@pytest.mark.parametrize(
    "every", [pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.thorough), 12]
)
def test_broken_off_at_any_write_and_run_again_ends_in_the_same_state(every: int, proxy: Proxy, project: Path) -> None:
    submit(make_generator(project / "whole", 0), 3.0, name="whole")
    expected = state("whole")
    kinds: dict[str, int] = {}
    for index, write in enumerate(proxy.writes):
        kinds.setdefault(re.sub(r"m-[0-9a-f]{32}|[0-9a-f]{32}|artifacts/.*", "*", write), index)
    assert len(kinds) > 10
    for number, limit in enumerate(sorted({*kinds.values(), len(proxy.writes) - 1})[::every]):
        name = f"broken-{number}"
        folder = make_generator(project / name, number + 1)
        proxy.break_after(limit)
        with pytest.raises(UserError, match="no answer") as caught:
            submit(folder, 3.0, name=name)
        assert "\n" not in str(caught.value)
        proxy.mend()
        for version in state(name)["versions"].values():
            assert version["tags"].items() >= {**TAGS, "score": "3.0", "metric": "domain/fid"}.items()
        registration = submit(folder, 3.0, name=name)
        assert registration.aliases == ("challenger", "champion")
        assert state(name) == expected, f"broken off at {limit}"
