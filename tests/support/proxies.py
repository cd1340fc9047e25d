"""A forward proxy on loopback: plain http in absolute form, tunnels by CONNECT, a password if it wants one."""

from __future__ import annotations

import base64
import http.client
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest


class Proxy(ThreadingHTTPServer):
    """requests: method and target of each request. tunnels: the ports that CONNECT may lead to; None, all."""

    daemon_threads = True

    def __init__(self, password: str | None, tunnels: frozenset[int] | None) -> None:
        self.password, self.tunnels = password, tunnels
        self.requests: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Kept in `requests`."""

    def _is_refused(self, *, port: int | None = None) -> bool:
        self.server.requests.append((self.command, self.path))
        given = self.headers.get("Proxy-Authorization", "")
        pair = base64.b64decode(given.removeprefix("Basic ")).decode()
        status = None
        if self.server.password is not None and pair != self.server.password:
            status = 407
        elif port is not None and self.server.tunnels is not None and port not in self.server.tunnels:
            status = 403
        if status is not None:
            self.send_response_only(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return status is not None

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if self._is_refused(port=int(port)):
            return
        with socket.create_connection((host.strip("[]"), int(port))) as far:
            self.send_response_only(200)
            self.end_headers()
            pair = [self.connection, far]
            while ready := select.select(pair, [], [], 30)[0]:
                for one in ready:
                    if not (piece := one.recv(1 << 16)):
                        self.close_connection = True
                        return
                    (far if one is self.connection else self.connection).sendall(piece)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if self._is_refused():
            return
        line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=30)
        kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        line.request(self.command, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=kept)
        reply = line.getresponse()
        body = reply.read()
        self.send_response_only(reply.status)
        for name, value in reply.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        line.close()

    do_HEAD = do_GET  # noqa: N815 (the name that http.server looks for)


@contextmanager
def forward_proxy(
    password: str | None = None, tunnels: frozenset[int] | None = frozenset({443})
) -> Iterator[Proxy]:
    """With what most of them allow: tunnels to port 443 alone."""
    with Proxy(password, tunnels) as proxy:
        Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        yield proxy
        proxy.shutdown()


def alone(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """These proxy variables and no others."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
