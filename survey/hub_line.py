"""Connections to the storage, over which the large ranges come: kept open, and used one request at a time.

The Hub's session spends 0.9 CPU-seconds on a GB, as it hands each piece of 64 kB through its parser; the
standard library's client leaves a body alone and spends 0.3. The session's rules hold here, too: the same
certificates are trusted, and the environment's proxies are gone through.
"""

from __future__ import annotations

import atexit
import base64
import http.client
import select
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from survey.errors import Unreachable

# What a line may fail with, and what may be asked again over another.
BROKEN = (OSError, http.client.HTTPException)
PIECE_BYTES = 1 << 18
IDLE_S = 30.0  # servers close a connection that is silent for a minute or so
IDLE_LINES = 32

Origin = tuple[str, str]  # scheme, host with port


class Lines:
    """Open connections that nobody uses just now: the next model's bytes mostly lie on the same host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Origin, http.client.HTTPConnection]] = []

    def close(self) -> None:
        """Close those that nobody uses just now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, line in idle:
            line.close()

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str], timeout: httpx2.Timeout
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one GET; redirects are not followed. Raises BROKEN, Unreachable."""
        parts = urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        line = self._take(origin) or _line(origin, timeout)
        whole = False
        try:
            line.timeout = timeout.connect
            if line.sock is None:
                line.connect()
            line.sock.settimeout(timeout.read)
            line.putrequest("GET", _asked_for(line, url), skip_accept_encoding=True)
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            response = line.getresponse()
            yield response
            whole = response.isclosed() and not response.will_close and line.sock is not None
        finally:
            if whole:
                self._keep(origin, line)
            else:
                line.close()

    def _take(self, origin: Origin) -> http.client.HTTPConnection | None:
        """An idle connection to this origin that is still open."""
        while True:
            with self._lock:
                places = [place for place, (_, other, _) in enumerate(self._idle) if other == origin]
                if not places:
                    return None
                since, _, line = self._idle.pop(places[-1])
            if time.monotonic() - since < IDLE_S and not _hung_up(line):
                return line
            line.close()

    def _keep(self, origin: Origin, line: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), origin, line))
            dropped = self._idle.pop(0)[2] if len(self._idle) > IDLE_LINES else None
        if dropped is not None:
            dropped.close()


@cache
def lines() -> Lines:
    """Those of this process, as the Hub's session is one for all."""
    made = Lines()
    atexit.register(made.close)
    return made


def received(response: http.client.HTTPResponse, room: memoryview) -> Iterator[int]:
    """How many bytes more have come into `room`, of an answer that announces no more than fit.

    Straight from the socket: `response.read` would make a new object of each piece, which costs as much
    again as receiving it.
    """
    stop = response.length or 0
    # What came with the headers is handed over by itself: an error right after it would lose it.
    at = response.fp.readinto1(room[: min(len(response.fp.peek(1)), stop)]) if stop else 0
    if at > 0:
        yield at
    while 0 < at < stop:
        count = response.fp.readinto1(room[at : min(at + PIECE_BYTES, stop)])
        if count == 0:
            return
        at += count
        yield count
    response.close()  # read to its end: the line is free


def _hung_up(line: http.client.HTTPConnection) -> bool:
    """Whether the server closed it, or sends what nobody asked for: an idle line is silent."""
    if line.sock is None:
        return True
    silent = select.poll()
    silent.register(line.sock, select.POLLIN)
    return bool(silent.poll(0))


def _line(origin: Origin, timeout: httpx2.Timeout) -> http.client.HTTPConnection:
    """A connection to be opened: straight, or through the proxy that the environment names."""
    scheme, netloc = origin
    target = urlsplit(f"//{netloc}")
    host = target.hostname or ""
    proxy = _proxy(scheme, host)
    if proxy is None:
        return _connection(scheme, host, target.port)
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if through.scheme != "http" or not through.hostname:
        problem = f"the environment names a {through.scheme} proxy, expected an http:// one"
        raise Unreachable("network", netloc, problem)
    user, password = through.username or "", through.password or ""
    headers = {"Proxy-Authorization": _credentials(user, password)} if user else {}
    line = _connection(scheme, through.hostname, through.port or 80)
    line.set_tunnel(host, target.port or line.default_port, headers)
    return line


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, context=_trusted())
    return http.client.HTTPConnection(host, port)


def _asked_for(line: http.client.HTTPConnection, url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _proxy(scheme: str, host: str) -> str | None:
    if proxy_bypass(host):
        return None
    found = getproxies()
    return found.get(scheme) or found.get("all")


def _credentials(user: str, password: str) -> str:
    pair = f"{unquote(user)}:{unquote(password)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that the session trusts."""
    return httpx2.create_ssl_context()
