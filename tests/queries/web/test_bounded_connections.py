"""Connections that wait for the rest of a request, or for a client to read the answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from queries.web.bounded_connections import BoundedProtocol

LARGE = 64 << 20
PAGE = 8 << 20  # more than the system keeps of a connection


class Hasty(BoundedProtocol):
    """The same, with seconds instead of tens of them."""

    head_s, look_s, reader_bytes_s = 1.0, 0.2, 1 << 20


class Crowded(BoundedProtocol):
    """The same patience as that of `survey serve`, for fewer connections."""

    most_open = 8


def answer(request: Request) -> Response:
    if request.url.path == "/slow":
        time.sleep(2.5)
    return PlainTextResponse("x" * {"/large": LARGE, "/page": PAGE}.get(request.url.path, 3))


@contextmanager
def served(http: type[BoundedProtocol], **settings: Any) -> Iterator[tuple[int, uvicorn.Server]]:
    routes = [Route(path, answer) for path in ("/", "/slow", "/large", "/page")]
    config = uvicorn.Config(Starlette(routes=routes), http=http, log_level="critical", ws="none", **settings)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1], server
    server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(Hasty, limit_concurrency=8) as (port, _):
        yield port


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def drip(opened: socket.socket, times: int) -> None:
    for _ in range(times):
        opened.sendall(b"X-a: b\r\n")
        time.sleep(0.1)


def is_closed(opened: socket.socket, seconds: float) -> bool:
    opened.settimeout(seconds)
    try:
        return opened.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
def test_a_request_that_does_not_come_is_not_waited_for(port: int, begun: bytes) -> None:
    with connected(port) as opened:
        opened.sendall(begun)
        assert is_closed(opened, 8)


def test_a_head_that_drips_is_not_waited_for(port: int) -> None:
    with connected(port) as opened:
        opened.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(ConnectionError):
            drip(opened, 100)


def test_an_answer_that_nobody_reads_is_dropped(port: int) -> None:
    with connected(port) as opened:
        opened.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(3)
        came = 0
        try:
            while piece := opened.recv(1 << 20):
                came += len(piece)
        except ConnectionError:
            pass
        assert came < LARGE


@pytest.mark.parametrize("path", ["/", "/slow", "/large"])
def test_a_client_that_reads_is_answered(port: int, path: str) -> None:
    """A question that takes longer than a head may is no connection that waits."""
    with connected(port) as opened:
        opened.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        came = b"".join(iter(lambda: opened.recv(1 << 20), b""))
    assert came.startswith(b"HTTP/1.1 200")
    assert len(came) > (LARGE if path == "/large" else 3)


def test_beyond_a_number_of_connections_a_client_is_told_to_come_back(port: int) -> None:
    waiting = [connected(port) for _ in range(8)]
    try:
        with connected(port) as opened:
            opened.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert opened.recv(100).startswith(b"HTTP/1.1 503")
        assert all(is_closed(one, 8) for one in waiting)
        with connected(port) as opened:
            opened.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert opened.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for one in waiting:
            one.close()


BEGUN = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "an answer that nobody reads": b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_three_hundred_connections_that_wait_shut_nobody_out(begun: bytes) -> None:
    with served(Crowded, limit_concurrency=16, backlog=128) as (port, server), ExitStack() as stack:
        threads = threading.active_count()
        for _ in range(300):
            with suppress(OSError):  # it was ended already, to make room
                stack.enter_context(connected(port)).sendall(begun)
        for _ in range(3):
            began = time.monotonic()
            with connected(port) as opened:
                opened.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert opened.makefile("rb").read().startswith(b"HTTP/1.1 200")
            assert time.monotonic() - began < 5
        assert len(server.server_state.connections) <= 16
        assert threading.active_count() - threads <= 40  # those in which the application answers
