"""A registered generator, served in this process as `gan serve` does."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.listening import server_of
from pipelines.registry.served import ModelAddress
from pipelines.serving.app import make_app
from pipelines.serving.following import Following
from pipelines.serving.gauges import Gauges
from pipelines.serving.limits import Limits
from tests.registered import make_generator, submit

MODEL = "models:/digits@champion"
LIMITS = Limits(images=64, pixels=4096, truncation=0.9, rejection=0.0, requests_per_minute=None, timeout_s=20)

Serve = Callable[..., "Served"]


class Served:
    """A server at an address; `said` is what it tells the operator."""

    def __init__(self, address: str, following: Following, said: list[str]) -> None:
        self.address, self.following, self.said = address, following, said

    def get(self, path: str, **query: str | float) -> httpx.Response:
        return httpx.get(self.address + path, params=query, timeout=30)

    def post(self, *requests: dict[str, object]) -> httpx.Response:
        return httpx.post(f"{self.address}/invocations", json={"inputs": list(requests)}, timeout=30)


@pytest.fixture
def registered(project: Path) -> Path:
    """The project, whose model `digits` has a champion."""
    submit(make_generator(project / "generator", 1), 3.0)
    return project


@contextmanager
def serving(limits: Limits = LIMITS, *, model: str = MODEL, check_every_s: float = 60.0) -> Iterator[Served]:
    said: list[str] = []
    gauges = Gauges()
    following = Following(ModelAddress.parse(model), say=said.append, on_swap=gauges.swapped)
    app = make_app(following, limits=limits, hosts={"127.0.0.1"}, gauges=gauges, check_every_s=check_every_s)
    server = server_of(app, last_requests_s=10)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            assert httpx.get(f"{address}/health", timeout=30).json()["status"] == "ok"
            yield Served(address, following, said)
        finally:
            server.should_exit = True
            thread.join(timeout=60)
    assert not thread.is_alive()
