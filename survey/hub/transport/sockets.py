"""Opening a connection, directly or through a proxy; and why it failed, and whether a retry may help."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable

from survey.hub.transport.names import NameTimeout, addresses
from survey.hub.transport.origins import Origin
from survey.hub.transport.proxies import Misconfigured, Proxy, proxy_for, trusted_certificates

MAX_ADDRESSES = 8  # of one host name; each may be silent


class NotConnected(OSError):
    """No connection could be opened. permanent: a retry would not help."""

    def __init__(self, origin: Origin, problem: str, *, permanent: bool) -> None:
        super().__init__(f"{origin}: {problem}")
        self.origin, self.problem, self.permanent = origin, problem, permanent


def new_connection(origin: Origin) -> tuple[http.client.HTTPConnection, Proxy | None]:
    """A connection that is not open yet, and the proxy that it goes through. Raises NotConnected."""
    try:
        # For http, too: storage is mostly https, and a misconfiguration is better reported at once.
        certificates = trusted_certificates()
        proxy = proxy_for(origin)
        host, port = (origin.host, origin.port) if proxy is None else (proxy.host, proxy.port)
        if origin.scheme == "http":
            return http.client.HTTPConnection(host, port), proxy
        connection = http.client.HTTPSConnection(host, port, context=certificates)
    except Misconfigured as error:
        raise NotConnected(origin, str(error), permanent=True) from None
    if proxy is not None:
        headers = {"Proxy-Authorization": proxy.credentials} if proxy.credentials else {}
        connection.set_tunnel(origin.host, origin.port, headers)
    return connection, proxy


def open_connection(
    connection: http.client.HTTPConnection,
    origin: Origin,
    proxy: Proxy | None,
    left_s: Callable[[], float],
) -> None:
    """Connect the socket. left_s: what each address may take.

    Raises NotConnected, and whatever `left_s` raises after the deadline.
    """

    def create(address: tuple[str, int], *_: object) -> socket.socket:
        return _connect(*address, left_s)

    # The client's own gives each address of a name the whole time.
    connection._create_connection = create  # type: ignore[attr-defined]  # a hook without a public name
    connection.timeout = left_s()
    try:
        connection.connect()
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        problem, permanent = _explain(error, connection, origin, proxy)
        raise NotConnected(origin, problem, permanent=permanent) from error


def _connect(host: str, port: int, left_s: Callable[[], float]) -> socket.socket:
    """A connection to the first address that answers. Raises OSError."""
    failure = OSError("the name has no address")
    for address in addresses(host, port, left_s())[:MAX_ADDRESSES]:
        try:
            numeric = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
            return socket.create_connection((numeric, port), left_s())
        except OSError as error:
            failure = error
    raise failure


def proxy_refusal(proxy: Proxy, origin: Origin, request: str = "the request") -> NotConnected:
    """The error for a proxy that requires credentials."""
    problem = f"{proxy} answered 407 to {request}; it requires user:password@ in its URL"
    return NotConnected(origin, problem, permanent=True)


def _explain(
    error: Exception, connection: http.client.HTTPConnection, origin: Origin, proxy: Proxy | None
) -> tuple[str, bool]:
    """What went wrong, in words, and whether it is permanent."""
    peer = "it" if proxy is None else str(proxy)
    if isinstance(error, UnicodeError):
        return "is not a host name", True
    name = "the URL" if proxy is None else str(proxy)
    if isinstance(error, NameTimeout):
        return f"the host name of {name} {error}", False
    if isinstance(error, socket.gaierror):
        permanent = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return f"the host name of {name} is unknown ({error.strerror})", permanent
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "name your authority's certificates in SSL_CERT_FILE"
        return f"its certificate is not trusted ({error.verify_message}); {remedy}", True
    if isinstance(error, ssl.SSLError):
        is_plain = error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST")
        return f"{peer} does not speak TLS ({error.reason}){'; is it http://?' if is_plain else ''}", is_plain
    if refusal := re.search(r"Tunnel connection failed: (\d+)", str(error)):
        status, request = int(refusal[1]), f"CONNECT {origin.host}:{origin.port}"
        if status == 407 and proxy is not None:
            return proxy_refusal(proxy, origin, request).problem, True
        return f"{peer} answered {status} to {request}", 400 <= status < 500
    if isinstance(error, TimeoutError):
        return f"{peer} does not answer within {connection.timeout or 0:.0f} s", False
    if isinstance(error, ConnectionRefusedError):
        return f"{peer} refuses connections", False
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{peer} cannot be reached: {words}", False
