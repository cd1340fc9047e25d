"""Connections to the storage: reused, dropped once the server closed them, and through a proxy if there is one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub.utils import close_session
from support.proxies import alone, forward_proxy

from jobs.demo.hub.local_hub import LocalHub
from survey.hub.transport.connections import ConnectionPool, receive_into
from survey.hub.transport.limits import RequestLimits, TooLong
from survey.hub.transport.origins import origin_of
from survey.hub.transport.proxies import Misconfigured, proxy_for
from survey.hub.transport.sockets import MAX_ADDRESSES, NotConnected

CONTENT = bytes(range(256)) * 400


def limits(whole_s: float = 5.0) -> RequestLimits:
    return RequestLimits(5.0, 5.0, time.monotonic() + whole_s)


@pytest.fixture
def url(hub: LocalHub) -> Iterator[str]:
    """The URL at which the storage serves CONTENT."""
    sha = hub.add_repo("org/model", {"model.safetensors": CONTENT})
    yield hub.signed_url(hub.repos["org/model"], hub.repos["org/model"].commits[sha], "model.safetensors")
    close_session()


@pytest.fixture
def pool() -> Iterator[ConnectionPool]:
    connections = ConnectionPool()
    yield connections
    connections.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Every connection that is opened."""
    addresses: list[tuple[object, ...]] = []
    real = socket.create_connection

    def note(address: tuple[str, int], *rest: object, **named: object) -> socket.socket:
        addresses.append(address)
        return real(address, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", note)
    return addresses


def read(pool: ConnectionPool, url: str, start: int, stop: int, *, at_most: int | None = None) -> bytes:
    buffer = memoryview(bytearray(stop - start))
    filled = 0
    with pool.request("GET", url, {"Range": f"bytes={start}-{stop - 1}"}, limits()) as response:
        for count in receive_into(response, buffer):
            filled += count
            if at_most is not None and filled >= at_most:
                break
    return bytes(buffer[:filled])


def test_a_connection_whose_response_was_read_serves_the_next_request(
    pool: ConnectionPool, url: str, opened: list[object]
) -> None:
    for start in range(0, 100_000, 10_000):
        assert read(pool, url, start, start + 10_000) == CONTENT[start : start + 10_000]
    assert len(opened) == 1


def test_a_connection_whose_response_was_not_read_is_closed(
    pool: ConnectionPool, url: str, opened: list[object]
) -> None:
    assert len(read(pool, url, 0, 100_000, at_most=1)) < 100_001
    assert read(pool, url, 5, 50) == CONTENT[5:50]
    with pytest.raises(ZeroDivisionError), pool.request("GET", url, {}, limits()):
        raise ZeroDivisionError
    assert read(pool, url, 5, 50) == CONTENT[5:50]
    assert len(opened) == 3


def test_a_connection_that_the_server_closed_is_not_reused(
    pool: ConnectionPool, hub: LocalHub, url: str, opened: list[object]
) -> None:
    read(pool, url, 0, 10)
    for connection in list(hub._cdn._open):  # as servers do with those that are silent
        connection.shutdown(socket.SHUT_RDWR)
    assert read(pool, url, 0, 10) == CONTENT[:10]
    assert len(opened) == 2


@pytest.fixture
def silent() -> Iterator[int]:
    """A port of this machine whose connections never come about: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def named(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: tuple[str, int]) -> None:
    """Makes a name resolve to these addresses."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: Any, **kind: Any) -> Any:
        if host != name:
            return real(host, port, *rest, **kind)
        return [entry for address in addresses for entry in real(*address, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_name_with_many_silent_addresses_takes_no_longer_than_the_deadline(
    pool: ConnectionPool, silent: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, "hub.test", *[("127.0.0.1", silent)] * count)
    started = time.monotonic()
    with (
        pytest.raises((NotConnected, TooLong)),
        pool.request("GET", f"http://hub.test:{silent}/", {}, limits(0.5)),
    ):
        raise AssertionError("nobody answers")
    assert time.monotonic() - started < 1.5


def test_a_silent_name_server_takes_no_longer_than_the_deadline(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, look_ups = threading.Event(), []

    def look_up(*name: Any, **kind: Any) -> Any:
        look_ups.append(name)
        answers.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    started = time.monotonic()
    for _ in range(3):
        with (
            pytest.raises(NotConnected, match=r"the host name of the URL was not resolved within"),
            pool.request("GET", "http://hub.test/", {}, limits(0.3)),
        ):
            raise AssertionError("nobody answers")
    assert time.monotonic() - started < 2.5
    assert len(look_ups) == 1  # shared: no thread for each retry
    answers.set()


def test_the_next_address_is_tried_and_not_all_of_hundreds(
    pool: ConnectionPool, url: str, opened: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = origin_of(url)[1:]
    here, gone = url.replace(host, "hub.test"), ("127.0.0.9", port)
    alone(monkeypatch)
    named(monkeypatch, "hub.test", gone, gone, (host, port))
    assert read(pool, here, 5, 50) == CONTENT[5:50]
    pool.close()
    opened.clear()
    named(monkeypatch, "hub.test", *[gone] * 300, (host, port))
    with pytest.raises(NotConnected, match="refuses connections"):
        read(pool, here, 5, 50)
    assert len(opened) == MAX_ADDRESSES


def test_the_environments_proxy_is_gone_through(
    pool: ConnectionPool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forward_proxy(password="user:pass word") as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pass%20word@{proxy.address}")
        monkeypatch.setenv("no_proxy", "localhost")
        assert read(pool, url, 7, 700) == CONTENT[7:700]
        monkeypatch.setenv("no_proxy", "127.0.0.1,127.0.0.2")
        assert read(pool, url, 7, 700) == CONTENT[7:700]
    assert proxy.requests == [("GET", url)]


def test_a_proxy_of_another_kind_is_refused(
    pool: ConnectionPool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(NotConnected, match=r"names a socks5 proxy .* expected an http:// one") as caught:
        read(pool, url, 0, 1)
    assert caught.value.permanent


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
def test_an_answer_that_drips_ends_at_its_deadline(pool: ConnectionPool, sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            with contextlib.suppress(OSError), listening.accept()[0] as client:
                client.sendall(sent)
                while True:
                    client.sendall(b"x")
                    time.sleep(0.05)

        server = threading.Thread(target=drip)
        server.start()
        started = time.monotonic()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(TooLong), pool.request("GET", address, {}, limits(0.5)) as response:
            response.read()
        assert 0.4 < time.monotonic() - started < 3
        server.join()


# ---- which proxy

PROXY = "http://proxy.test:3128"
NO_PROXY = [
    ("", False),
    ("*", True),
    ("hub.test", True),
    ("HUB.test", True),
    ("test", True),
    ("hub.test:443", True),
    ("hub.test:80", False),
    (".test", True),
    (".hub.test", False),
    ("*.test", True),
    ("ub.test", False),
    ("other.test, hub.test", True),
    ("10.0.0.0/8", False),
    ("https://hub.test", True),
    ("http://hub.test", False),
    ("[::1],::1,fe80::/10,999.0.0.0/99,[", False),
]  # fmt: skip


@pytest.mark.parametrize(("listed", "direct"), NO_PROXY)
def test_no_proxy_names_hosts_that_are_reached_directly(
    listed: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, https_proxy=PROXY, no_proxy=listed)
    assert (proxy_for(origin_of("https://hub.test")) is None) is direct


@pytest.mark.parametrize(
    ("url", "listed", "direct"),
    [
        ("http://127.0.0.1:8000", "127.0.0.0/8", True),
        ("http://127.0.0.1:8000", "127.0.0.1", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:80", False),
        ("http://10.1.2.3", "127.0.0.0/8,10.1.0.0/16", True),
        ("http://10.2.2.3", "10.1.0.0/16", False),
        ("http://[::1]:8000", "[::1]", True),
        ("http://[fe80::1]", "fe80::/10", True),
        ("http://localhost", "localhost", True),
        ("http://hub.localhost", "localhost", False),
    ],
)
def test_no_proxy_knows_networks_and_addresses(
    url: str, listed: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, http_proxy="http://localhost:3128", no_proxy=listed)
    assert (proxy_for(origin_of(url)) is None) is direct


@pytest.mark.parametrize(
    ("url", "proxy", "direct"),
    [
        ("http://localhost:8000", PROXY, True),
        ("http://hub.localhost", PROXY, True),
        ("http://127.8.9.1", "http://10.0.0.1:3128", True),
        ("http://[::1]:8000", PROXY, True),
        ("https://localhost", PROXY, True),
        ("http://localhost:8000", "http://127.0.0.1:3128", False),
        ("http://[::1]", "http://localhost:3128", False),
        ("http://127.0.0.1.hub.test", PROXY, False),
        ("http://10.0.0.2", PROXY, False),
    ],
)
def test_what_this_machine_serves_is_not_asked_of_another(
    url: str, proxy: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token may go to this machine over plain http, and would go to the proxy's."""
    alone(monkeypatch, http_proxy=proxy, https_proxy=proxy)
    assert (proxy_for(origin_of(url)) is None) is direct


def test_the_proxy_for_all_counts_if_none_is_named_for_the_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch, http_proxy=PROXY, all_proxy="all.test:9")
    assert str(proxy_for(origin_of("http://hub.test"))) == "the proxy http://proxy.test:3128 (of http_proxy)"
    assert str(proxy_for(origin_of("https://hub.test"))) == "the proxy http://all.test:9 (of all_proxy)"


@pytest.mark.parametrize(
    "url", ["http://proxy.test:99999", "http://[::1", "socks5://u:secret-word@p.test", "https://p.test"]
)
def test_a_proxy_that_cannot_be_used_is_named_with_its_variable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, all_proxy=url)
    with pytest.raises(Misconfigured, match="all_proxy") as caught:
        proxy_for(origin_of("https://hub.test"))
    assert "secret-word" not in str(caught.value)
