"""How a connection comes about, straight or through a proxy; or why not, and whether waiting may help."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable

from survey.hub.access import Origin
from survey.hub.proxies import Misconfigured, Proxy, proxy_for, trusted

ADDRESSES_AT_MOST = 8  # of one host name; each may be silent


class NotConnected(OSError):
    """No connection came about. permanent: asking again would not help."""

    def __init__(self, origin: Origin, problem: str, *, permanent: bool) -> None:
        super().__init__(f"{origin}: {problem}")
        self.origin, self.problem, self.permanent = origin, problem, permanent


def line_to(origin: Origin) -> tuple[http.client.HTTPConnection, Proxy | None]:
    """A connection to be opened, and the proxy that it goes through. Raises NotConnected."""
    try:
        certificates = trusted()  # for http, too: storage is mostly https, and a slip is better told at once
        proxy = proxy_for(origin)
        host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        if origin.scheme == "http":
            return http.client.HTTPConnection(host, port), proxy
        line = http.client.HTTPSConnection(host, port, context=certificates)
    except Misconfigured as error:
        raise NotConnected(origin, str(error), permanent=True) from None
    if proxy is not None:
        headers = {"Proxy-Authorization": proxy.credentials} if proxy.credentials else {}
        line.set_tunnel(origin.host, origin.port, headers)
    return line, proxy


def open_socket(
    line: http.client.HTTPConnection, origin: Origin, proxy: Proxy | None, left_s: Callable[[], float]
) -> None:
    """Open it. left_s: what each address may take; TimeoutError at the deadline. Raises NotConnected."""

    def opened(address: tuple[str, int], *_: object) -> socket.socket:
        return _opened(*address, left_s)

    # The client's own gives each address of a name the whole time.
    line._create_connection = opened  # type: ignore[attr-defined]  # a hook without a public name
    line.timeout = left_s()
    try:
        line.connect()
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        problem, permanent = _why(error, line, origin, proxy)
        raise NotConnected(origin, problem, permanent=permanent) from error


def _opened(host: str, port: int, left_s: Callable[[], float]) -> socket.socket:
    """A connection to the first address that answers. Raises OSError."""
    failed = OSError("the name has no address")
    for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:ADDRESSES_AT_MOST]:
        try:
            numeric = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
            return socket.create_connection((numeric, port), left_s())
        except OSError as error:
            failed = error
    raise failed


def refused_by(proxy: Proxy, origin: Origin, asked: str = "the request") -> NotConnected:
    """A proxy wants to know who asks."""
    problem = f"{proxy} answered 407 to {asked}; it wants user:password@ in its URL"
    return NotConnected(origin, problem, permanent=True)


def _why(
    error: Exception, line: http.client.HTTPConnection, origin: Origin, proxy: Proxy | None
) -> tuple[str, bool]:
    """What went wrong, in words, and whether it stays so."""
    whom = "it" if proxy is None else str(proxy)
    if isinstance(error, UnicodeError):
        return "is no host name", True
    if isinstance(error, socket.gaierror):
        gone = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return f"the host name of {whom if proxy else 'the URL'} is unknown ({error.strerror})", gone
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "name your authority's certificates in SSL_CERT_FILE"
        return f"its certificate is not trusted ({error.verify_message}); {remedy}", True
    if isinstance(error, ssl.SSLError):
        plain = error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
        return f"{whom} does not speak TLS ({error.reason}){'; is it http://?' if plain else ''}", plain
    if answered := re.search(r"Tunnel connection failed: (\d+)", str(error)):
        status, asked = int(answered[1]), f"CONNECT {origin.host}:{origin.port}"
        if status == 407 and proxy is not None:
            return refused_by(proxy, origin, asked).problem, True
        return f"{whom} answered {status} to {asked}", 400 <= status < 500
    if isinstance(error, TimeoutError):
        return f"{whom} does not answer within {line.timeout or 0:.0f} s", False
    if isinstance(error, ConnectionRefusedError):
        return f"{whom} refuses connections", False
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{whom} cannot be reached: {words}", False
