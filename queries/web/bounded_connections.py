"""Connections that may not wait for ever: for the rest of a request, or for a reader of an answer.

uvicorn bounds how long a connection may be idle between requests, not how long a request or an
answer may take to pass; each open one keeps a file descriptor, and its answer in memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # until a request is complete
READER_BYTES_S = 20_000  # at which an answer must be read, over each LOOK_S
CONNECTION_POLL_S = 5.0
CONNECTIONS = 64  # beyond, a request is told to come back


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn's, on connections that are looked at every few seconds."""

    head_s, look_s, reader_bytes_s = HEAD_S, CONNECTION_POLL_S, READER_BYTES_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since: float | None = self.loop.time()
        self._unread, self._answered = 0, self.cycle
        self._look = self.loop.call_later(self.look_s, self._looked)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def _looked(self) -> None:
        if self._is_late():
            self.transport.abort()
        else:
            self._look = self.loop.call_later(self.look_s, self._looked)

    def _is_late(self) -> bool:
        """Whether the other side has not asked, or not read, as fast as it must."""
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        before, self._unread = self._unread, unread
        same, self._answered = self.cycle is self._answered, self.cycle
        if unread:
            self._waits_since = None
            return same and before > 0 and before - unread < self.reader_bytes_s * self.look_s
        if not self._is_waiting():
            self._waits_since = None
            return False
        self._waits_since = now if self._waits_since is None else self._waits_since
        return now - self._waits_since > self.head_s

    def _is_waiting(self) -> bool:
        """Whether no request is being answered: none came whole since the last answer."""
        cycle: Any = self.cycle  # Any: None before the first request
        return cycle is None or bool(cycle.response_complete)
