"""Requests as bytes, to a server of ours on a real socket."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection

import pytest
from starlette.types import Receive, Scope, Send

from pipelines.listening import listen, server_of


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the path and how long the body was."""
    assert scope["type"] == "http"
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    answer = f"{scope['path']} {size}\n".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = server_of(count, last_requests_s=5)
    server.config.lifespan = "off"
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


def answers(port: int, *sent: bytes) -> str:
    """What comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for each in sent:
            connection.sendall(each)
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"a"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"A: a\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: a\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nA: ", b"a"),
    ],
    ids=["path", "header", "headers", "chunk extension", "trailers", "second request"],
)
def test_a_head_without_end_is_refused(port: int, start: bytes, rest: bytes) -> None:
    part, sent = rest * (4096 // len(rest)), 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall(start)
        while sent < 64 << 20:
            connection.sendall(part)
            sent += len(part)
    assert sent < 16 << 20  # some MiB fit into the buffers of the two sockets


def test_requests_as_clients_send_them(port: int) -> None:
    get, post = b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /p HTTP/1.1\r\nHost: x\r\n"
    last = get.replace(b"Host", b"Connection: close\r\nHost")
    assert answers(port, get, get + last).count("/a b 0\n") == 3
    body = b"x" * (1 << 20)
    assert answers(port, post + b"Content-Length: %d\r\n\r\n" % len(body), body, last).count(" 200 ") == 2
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n" * 100_000
    assert "/p 300000\n" in answers(port, chunked, b"0\r\n\r\n" + last)
    assert " 400 " in answers(port, b"no request\r\n\r\n")
    assert "/ 0\n" in answers(port, b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
@pytest.mark.parametrize("body", ["", "abc", "x" * 300_000])
def test_another_protocol_that_a_client_would_rather_speak_is_passed_over(port: int, protocol: str, body: str) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": protocol}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        for headers in ({}, upgrade, {}, upgrade):
            client.request("POST", "/p?a=%20", body, headers)
            assert client.getresponse().read().decode() == f"/p {len(body)}\n"
    head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: {protocol}\r\n"
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    for cut in (1, len(head) - 4, len(head) + 10):
        assert f"/ {len(body)}\n" in answers(port, whole[:cut], whole[cut:])
