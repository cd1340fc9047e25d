"""Limits of one request: time to connect, silence, deadline and size, enforced on each read."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from survey.hub.transport.response_head import ResponseFile


class TooLong(TimeoutError):
    """A request did not end by its deadline, though bytes may have arrived all the time."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request. deadline: by `time.monotonic`. max_bytes: of the whole response."""

    connect_s: float
    silence_s: float
    deadline: float
    max_bytes: int | None = None

    def left_s(self, longest_s: float) -> float:
        """Seconds that one wait may take. Raises TooLong."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TooLong("the deadline has passed")
        return min(left_s, longest_s)


class _LimitedFile(io.RawIOBase):
    """The bytes of a socket, within the limits of one request."""

    def __init__(self, sock: Any, raw: io.RawIOBase, limits: RequestLimits) -> None:  # Any: TLS or not
        self._sock, self._raw, self._limits = sock, raw, limits
        self._left_bytes = limits.max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # Any: every type of writable buffer
        self._sock.settimeout(self._limits.left_s(self._limits.silence_s))
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            self._limits.left_s(0)
            raise
        if self._left_bytes is not None:
            self._left_bytes -= count or 0
            if self._left_bytes < 0:
                raise OSError(f"the answer goes on after {self._limits.max_bytes:,} bytes")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


@dataclass(frozen=True, slots=True)
class _LimitedSocket:
    """A socket as the client uses it to read a response."""

    sock: Any  # a socket, TLS or not
    limits: RequestLimits

    def makefile(self, mode: str) -> io.BufferedReader:
        return ResponseFile(_LimitedFile(self.sock, self.sock.makefile(mode, buffering=0), self.limits))


def limited_response(limits: RequestLimits) -> Callable[..., http.client.HTTPResponse]:
    """A factory of responses whose reads keep within the limits: a `response_class` of a connection."""

    def create(sock: socket.socket, *rest: Any, **options: Any) -> http.client.HTTPResponse:  # Any: passed on
        return http.client.HTTPResponse(_LimitedSocket(sock, limits), *rest, **options)  # type: ignore[arg-type]

    return create
