"""The proxy of a request and the trusted certificates: one rule for all requests to the Hub.

The rule is httpx's, which huggingface_hub follows. The variables that `requests` reads for certificates
count, too: companies set REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import httpx2

from survey.hub.transport.origins import Origin, basic_credentials, is_this_machine
from survey.process.redaction import redacted

_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Misconfigured(Exception):
    """The environment names an unusable proxy or certificate; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http proxy. variable: the environment variable that names it."""

    host: str
    port: int
    credentials: str | None
    variable: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy http://{host}:{self.port} (of {self.variable})"


def proxy_for(origin: Origin) -> Proxy | None:
    """The proxy that the environment names for this origin. Raises Misconfigured."""
    stated = getproxies()
    key = origin.scheme if stated.get(origin.scheme) else "all"
    url = stated.get(key)
    if not url or _is_direct(origin, stated.get("no", "")):
        return None
    variable = _variable(key)
    remedy = f"name an http:// proxy in {variable}, or {origin.host} in NO_PROXY"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError as error:
        raise Misconfigured(
            f"{variable} is {redacted(url)}, which is not a URL ({error}); {remedy}"
        ) from None
    if parts.scheme != "http" or not parts.hostname:
        shown = redacted(url)
        raise Misconfigured(
            f"{variable} names a {parts.scheme} proxy ({shown}), expected an http:// one; {remedy}"
        )
    if is_this_machine(origin.host) and not is_this_machine(parts.hostname):
        return None  # localhost of the proxy is another machine, which would get our token in clear
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Proxy(
        parts.hostname, port, basic_credentials(user, password) if user or password else None, variable
    )


def _variable(key: str) -> str:
    names = (f"{key}_proxy", f"{key}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), f"the system's settings for {key}")


def _is_direct(origin: Origin, listed: str) -> bool:
    return any(_covers(entry.strip().lower(), origin) for entry in listed.split(",") if entry.strip())


def _covers(entry: str, origin: Origin) -> bool:
    """Whether an entry of NO_PROXY covers an origin: `*`, a network, an address, a domain; with a port."""
    if entry == "*":
        return True
    scheme, _, rest = entry.rpartition("://")
    if scheme not in ("", "all", origin.scheme):
        return False
    host = origin.host.lower()
    if (network := _network(rest)) is not None:
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:
            return False
    name, _, port = rest.rpartition(":") if rest.rpartition(":")[2].isdecimal() else (rest, "", "")
    if port and int(port) != origin.port:
        return False
    if (network := _network(name)) is not None:
        return host == str(network.network_address)
    if name.startswith(("*.", ".")):
        return host.endswith(name.removeprefix("*"))
    return host == name or (name != "localhost" and host.endswith(f".{name}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """An address, in brackets or not, or a network such as 10.0.0.0/8."""
    address, slash, bits = text.partition("/")
    try:
        return ipaddress.ip_network(address.strip("[]") + slash + bits, strict=False)
    except ValueError:
        return None


def trusted_certificates() -> ssl.SSLContext:
    """The trusted authorities: all that the environment names, else the system's.

    Raises Misconfigured.
    """
    stated = ((variable, os.environ.get(variable, "").strip()) for variable in _AUTHORITIES)
    return _ssl_context(tuple((variable, path) for variable, path in stated if path))


@cache
def _ssl_context(stated: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    if not stated:
        return httpx2.create_ssl_context()  # the system's, as in huggingface_hub's session
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificates and host names
    for variable, path in stated:
        try:
            if not Path(path).exists():
                raise FileNotFoundError("no such file or folder")
            is_folder = Path(path).is_dir()
            context.load_verify_locations(None if is_folder else path, path if is_folder else None)
        except (OSError, ValueError) as error:  # ssl's errors are OSErrors
            problem = f"{variable} names {path}: {error}; name a file of certificates (PEM), or unset it"
            raise Misconfigured(problem) from None
    return context
