"""Origins and URLs: where a connection leads, and who could read it on the way."""

from __future__ import annotations

import base64
import ipaddress
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from survey.errors import Unreachable, printable

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port: the server at the other end of a connection."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


def origin_of(url: str) -> Origin:
    """Scheme, host and port of a URL. Raises Unreachable if it is not http(s) with a host."""
    try:
        parts = urlsplit(url)
        port = parts.port
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("expected http:// or https:// and a host")
        if not parts.hostname.isascii():
            parts.hostname.encode("idna")
        if any(char <= " " or char == "\x7f" for char in parts.netloc) or port == 0:
            raise ValueError("no such host or port")
    except ValueError as error:  # ports beyond 65535, brackets without an end; UnicodeError is one
        raise Unreachable(
            "network", printable(url[:200]), f"is not a URL that can be requested: {error}"
        ) from None
    return Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])


def hub_name(endpoint: str) -> str:
    """An endpoint as the name of its Hub: without user, password and last slash. Raises Unreachable."""
    return f"{origin_of(endpoint)}{urlsplit(endpoint).path.rstrip('/')}"


def joined_url(base: str, location: str) -> str:
    """The URL that a redirect or a link names. Raises Unreachable if it cannot be requested."""
    try:
        url = urljoin(base, location)
    except ValueError as error:  # a bracket without an end
        raise Unreachable(
            "network", printable(location[:200]), f"is not a URL that can be requested: {error}"
        ) from None
    origin_of(url)
    return url


def is_readable_in_transit(url: str) -> bool:
    """Whether others on the way can read a request: plain http to another machine."""
    origin = origin_of(url)
    return origin.scheme != "https" and not is_this_machine(origin.host)


def is_this_machine(host: str) -> bool:
    """Whether a host name or an address is the loopback's."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def basic_credentials(user: str, password: str) -> str:
    """The Authorization header of a user and password."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def without_user(parts: SplitResult) -> str:
    """Host and port of a URL without its user and password."""
    return parts.netloc.rpartition("@")[2]
