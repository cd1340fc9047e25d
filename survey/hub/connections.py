"""Connections to the Hub and its storage: kept open, used one request at a time, never beyond a deadline.

httpx spends 0.9 CPU-seconds on a GB, as it hands each piece of 64 kB through its parser, and bounds each wait
but not their sum: a server that sends a byte a second holds it for ever. The standard library's client leaves
a body alone, spends 0.3, and reads through a file of ours that knows the deadline.
"""

from __future__ import annotations

import atexit
import http.client
import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from survey.hub.access import Origin, origin_of, without_user
from survey.hub.connect import line_to, open_socket, refused_by
from survey.hub.proxies import Proxy
from survey.hub.response_head import AnswerFile

# What a line may fail with, and what may be asked again over another.
CONNECTION_ERRORS = (OSError, http.client.HTTPException)
PIECE_BYTES = 1 << 18
IDLE_S = 30.0  # servers close a connection that is silent for a minute or so
IDLE_LINES = 32

Place = tuple[Origin, Proxy | None]


class TooLong(TimeoutError):
    """A request did not end by its deadline, though bytes may have come all the time."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may take. until: its end by `time.monotonic`. most_bytes: of the whole answer."""

    connect_s: float
    silence_s: float
    until: float
    most_bytes: int | None = None

    def left_s(self, most: float) -> float:
        """Seconds that one wait may take. Raises TooLong."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TooLong("the deadline has passed")
        return min(left, most)


class _Bounded(io.RawIOBase):
    """What comes over a socket, within the limits of one request."""

    def __init__(self, source: Any, raw: io.RawIOBase, limits: RequestLimits) -> None:  # Any: TLS or not
        self._source, self._raw, self._limits = source, raw, limits
        self._left = limits.most_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # Any: whatever can be written to
        self._source.settimeout(self._limits.left_s(self._limits.silence_s))
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            self._limits.left_s(0)
            raise
        if self._left is not None:
            self._left -= count or 0
            if self._left < 0:
                raise OSError(f"the answer goes on after {self._limits.most_bytes:,} bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _Source:
    """A socket as the client reads its answers from."""

    source: Any  # a socket, TLS or not
    limits: RequestLimits

    def makefile(self, mode: str) -> io.BufferedReader:
        return AnswerFile(_Bounded(self.source, self.source.makefile(mode, buffering=0), self.limits))


class ConnectionPool:
    """Open connections that nobody uses just now: the next model's bytes mostly lie on the same host.

    answered: the origins that ever answered this process.
    """

    def __init__(self) -> None:
        self.answered: set[Origin] = set()
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Place, http.client.HTTPConnection]] = []

    def close(self) -> None:
        """Close those that nobody uses just now."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, line in idle:
            line.close()

    @contextmanager
    def ask(
        self, method: str, url: str, headers: Mapping[str, str], limits: RequestLimits
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to one request; redirects are not followed. Raises BROKEN, Unreachable."""
        origin = origin_of(url)
        fresh, proxy = line_to(origin)
        line = self._take((origin, proxy)) or fresh
        line.response_class = _answers(limits)  # type: ignore[assignment]  # called as the class would be
        whole, response = False, None
        try:
            if line.sock is None:
                open_socket(line, origin, proxy, lambda: limits.left_s(limits.connect_s))
            line.sock.settimeout(limits.left_s(limits.silence_s))
            _send(line, method, url, headers, origin, proxy)
            response = line.getresponse()
            if proxy is not None and response.status == 407:
                raise refused_by(proxy, origin)
            self.answered.add(origin)
            yield response
            whole = response.isclosed() and not response.will_close and line.sock is not None
        finally:
            if whole:
                self._keep((origin, proxy), line)
            else:
                line.close()
                if response is not None:
                    response.close()  # of an answer that ends with its connection, it alone holds the socket

    def _take(self, place: Place) -> http.client.HTTPConnection | None:
        """An idle connection to this origin that is still open."""
        while True:
            with self._lock:
                places = [at for at, (_, other, _) in enumerate(self._idle) if other == place]
                if not places:
                    return None
                since, _, line = self._idle.pop(places[-1])
            if time.monotonic() - since < IDLE_S and not _hung_up(line):
                return line
            line.close()

    def _keep(self, place: Place, line: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), place, line))
            dropped = self._idle.pop(0)[2] if len(self._idle) > IDLE_LINES else None
        if dropped is not None:
            dropped.close()


@cache
def connection_pool() -> ConnectionPool:
    """Those of this process."""
    made = ConnectionPool()
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


def _answers(limits: RequestLimits) -> Callable[..., http.client.HTTPResponse]:
    def answer(source: socket.socket, *rest: Any, **named: Any) -> http.client.HTTPResponse:  # Any: passed on
        return http.client.HTTPResponse(_Source(source, limits), *rest, **named)  # type: ignore[arg-type]

    return answer


def _send(
    line: http.client.HTTPConnection,
    method: str,
    url: str,
    headers: Mapping[str, str],
    origin: Origin,
    proxy: Proxy | None,
) -> None:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Locations come with spaces and letters beyond ASCII, which a request line cannot hold.
    target = quote(target, safe="".join(map(chr, range(33, 127))))
    if proxy is not None and origin.scheme == "http":
        target = f"http://{without_user(parts)}{target}"  # proxies open tunnels to port 443 alone
        if proxy.credentials is not None:
            headers = {**headers, "Proxy-Authorization": proxy.credentials}
    line.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        line.putheader(name, value)
    line.endheaders()


def _hung_up(line: http.client.HTTPConnection) -> bool:
    """Whether the server closed it, or sends what nobody asked for: an idle line is silent."""
    if line.sock is None:
        return True
    if isinstance(line.sock, ssl.SSLSocket) and line.sock.pending():  # taken from the system, not yet by us
        return True
    silent = select.poll()
    silent.register(line.sock, select.POLLIN)
    return bool(silent.poll(0))
