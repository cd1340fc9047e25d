"""Connections to the storage: used again, given up when they hung up, and through a proxy where there is one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from huggingface_hub.utils import close_session

from jobs.demo.hub import LocalHub
from survey.errors import Unreachable
from survey.hub_line import Limits, Lines, received

CONTENT = bytes(range(256)) * 400


def limits(whole_s: float = 5.0) -> Limits:
    return Limits(5.0, 5.0, time.monotonic() + whole_s)


@pytest.fixture
def url(hub: LocalHub) -> Iterator[str]:
    """Where the storage serves CONTENT."""
    sha = hub.add_repo("org/model", {"model.safetensors": CONTENT})
    yield hub.signed_url(hub.repos["org/model"], hub.repos["org/model"].commits[sha], "model.safetensors")
    close_session()


@pytest.fixture
def lines() -> Iterator[Lines]:
    made = Lines()
    yield made
    made.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Every connection that is opened."""
    seen: list[tuple[object, ...]] = []
    real = socket.create_connection

    def note(address: tuple[str, int], *rest: object, **named: object) -> socket.socket:
        seen.append(address)
        return real(address, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", note)
    return seen


def read(lines: Lines, url: str, start: int, stop: int, *, at_most: int | None = None) -> bytes:
    room = memoryview(bytearray(stop - start))
    got = 0
    with lines.ask("GET", url, {"Range": f"bytes={start}-{stop - 1}"}, limits()) as response:
        for count in received(response, room):
            got += count
            if at_most is not None and got >= at_most:
                break
    return bytes(room[:got])


def test_a_line_whose_answer_was_read_serves_the_next(lines: Lines, url: str, opened: list[object]) -> None:
    for start in range(0, 100_000, 10_000):
        assert read(lines, url, start, start + 10_000) == CONTENT[start : start + 10_000]
    assert len(opened) == 1


def test_a_line_whose_answer_was_left_is_closed(lines: Lines, url: str, opened: list[object]) -> None:
    assert len(read(lines, url, 0, 100_000, at_most=1)) < 100_001
    assert read(lines, url, 5, 50) == CONTENT[5:50]
    with pytest.raises(ZeroDivisionError), lines.ask("GET", url, {}, limits()):
        raise ZeroDivisionError
    assert read(lines, url, 5, 50) == CONTENT[5:50]
    assert len(opened) == 3


def test_a_line_that_hung_up_is_not_used_again(
    lines: Lines, hub: LocalHub, url: str, opened: list[object]
) -> None:
    read(lines, url, 0, 10)
    for connection in list(hub._cdn._open):  # as servers do with those that are silent
        connection.shutdown(socket.SHUT_RDWR)
    assert read(lines, url, 0, 10) == CONTENT[:10]
    assert len(opened) == 2


@contextmanager
def tunnels() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that opens tunnels, and what it was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        client, _ = listening.accept()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        asked.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        server = socket.socket()
        server.connect((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=pump, args=(server, client))
        back.start()
        with server, client:
            pump(client, server)
            back.join()

    threading.Thread(target=serve, daemon=True).start()
    with listening:
        yield f"http://user:pass%20word@127.0.0.1:{listening.getsockname()[1]}", asked


def test_the_environments_proxy_is_gone_through(
    lines: Lines, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnels() as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "localhost")
        assert read(lines, url, 7, 700) == CONTENT[7:700]
        monkeypatch.setenv("no_proxy", "127.0.0.1,127.0.0.2")
        assert read(lines, url, 7, 700) == CONTENT[7:700]
    assert len(asked) == 1
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=" in asked[0]


def test_a_proxy_of_another_kind_is_refused(lines: Lines, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(Unreachable, match="names a socks5 proxy, expected an http:// one"):
        read(lines, url, 0, 1)
