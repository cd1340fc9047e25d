"""A pool of keep-alive connections to the Hub and its storage; one request per connection at a time.

httpx spends 0.9 CPU-seconds on a GB, as it hands each piece of 64 kB through its parser, and it bounds each
wait but not their sum: a server that sends a byte a second holds it for ever. The standard library's client
passes a body through unparsed, spends 0.3, and here reads through a file object that knows the deadline.
"""

from __future__ import annotations

import atexit
import http.client
import select
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from urllib.parse import quote, urlsplit

from survey.hub.transport.limits import RequestLimits, limited_response
from survey.hub.transport.origins import Origin, origin_of, without_user
from survey.hub.transport.proxies import Proxy
from survey.hub.transport.reach import Reach, reach_of, refuse_nearer, stated_reach
from survey.hub.transport.response_head import refuse_unclear_framing
from survey.hub.transport.sockets import new_connection, open_connection, proxy_refusal

# The errors of a connection; a new one may not have them.
CONNECTION_ERRORS = (OSError, http.client.HTTPException)
RECEIVE_BYTES = 1 << 18  # at a time
IDLE_S = 30.0  # servers close a connection that is silent for a minute or so
MAX_IDLE = 32

Route = tuple[Origin, Proxy | None]


class ConnectionPool:
    """Idle open connections: the next model's bytes mostly lie on the same host.

    responsive: the origins that ever answered this process. reach: of those that were reached directly.
    """

    def __init__(self) -> None:
        self.responsive: set[Origin] = set()
        self.reach: dict[Origin, Reach] = {}
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Route, http.client.HTTPConnection]] = []

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, connection in idle:
            connection.close()

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limits: RequestLimits,
        hub: Origin | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The response to one request; redirects are not followed.

        hub: the origin that the user named, if a redirect may have led here. Raises CONNECTION_ERRORS,
        Unreachable.
        """
        origin = origin_of(url)
        hub = hub or origin
        refuse_nearer(origin, stated_reach(origin.host), hub, self.reach.get(hub))
        fresh, proxy = new_connection(origin)
        connection = self._take((origin, proxy)) or fresh
        connection.response_class = limited_response(limits)  # type: ignore[assignment]  # called as a class
        reusable, response = False, None
        try:
            if connection.sock is None:
                open_connection(connection, origin, proxy, lambda: limits.left_s(limits.connect_s))
            if proxy is None:
                self.reach[origin] = reach_of(connection.sock.getpeername()[0].partition("%")[0])
                refuse_nearer(origin, self.reach[origin], hub, self.reach.get(hub))
            connection.sock.settimeout(limits.left_s(limits.silence_s))
            _send(connection, method, url, headers, origin, proxy)
            response = connection.getresponse()
            refuse_unclear_framing(response)
            if proxy is not None and response.status == 407:
                raise proxy_refusal(proxy, origin)
            self.responsive.add(origin)
            yield response
            reusable = response.isclosed() and not response.will_close and connection.sock is not None
        finally:
            if reusable:
                self._put_back((origin, proxy), connection)
            else:
                connection.close()
                if response is not None:
                    response.close()  # a body that ends with its connection holds the socket by itself

    def _take(self, route: Route) -> http.client.HTTPConnection | None:
        """An idle connection of this route that is still open."""
        while True:
            with self._lock:
                matches = [index for index, (_, other, _) in enumerate(self._idle) if other == route]
                if not matches:
                    return None
                since, _, connection = self._idle.pop(matches[-1])
            if time.monotonic() - since < IDLE_S and not _is_dead(connection):
                return connection
            connection.close()

    def _put_back(self, route: Route, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), route, connection))
            dropped = self._idle.pop(0)[2] if len(self._idle) > MAX_IDLE else None
        if dropped is not None:
            dropped.close()


@cache
def connection_pool() -> ConnectionPool:
    """The pool of this process."""
    pool = ConnectionPool()
    atexit.register(pool.close)
    return pool


def receive_into(response: http.client.HTTPResponse, buffer: memoryview) -> Iterator[int]:
    """Fill `buffer` from the response body; yield the size of each piece.

    The body must not be longer than the buffer. It is read straight from the socket: `response.read` would
    make a new object of each piece, which costs as much again as receiving it.
    """
    length = response.length or 0
    # The bytes that came with the headers are yielded first: an error right after them would lose them.
    done = response.fp.readinto1(buffer[: min(len(response.fp.peek(1)), length)]) if length else 0
    if done > 0:
        yield done
    while 0 < done < length:
        count = response.fp.readinto1(buffer[done : min(done + RECEIVE_BYTES, length)])
        if count == 0:
            return
        done += count
        yield count
    response.close()  # read to its end: the connection can be reused


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    url: str,
    headers: Mapping[str, str],
    origin: Origin,
    proxy: Proxy | None,
) -> None:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Locations may hold spaces and characters beyond ASCII, which a request line cannot hold.
    target = quote(target, safe="".join(map(chr, range(33, 127))))
    if proxy is not None and origin.scheme == "http":
        target = f"http://{without_user(parts)}{target}"  # proxies open tunnels to port 443 alone
        if proxy.credentials is not None:
            headers = {**headers, "Proxy-Authorization": proxy.credentials}
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()


def _is_dead(connection: http.client.HTTPConnection) -> bool:
    """Whether the server closed the connection or sent unsolicited data."""
    if connection.sock is None:
        return True
    if isinstance(connection.sock, ssl.SSLSocket) and connection.sock.pending():  # decrypted, not yet read
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
