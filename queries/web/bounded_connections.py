"""Time limits of connections: for the rest of a request, and for a client that reads its answer slowly.

uvicorn limits how long a connection may be idle between requests, not how long a request or an answer may
take to pass. Each open connection keeps a file descriptor, and its answer in memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # until a request is complete
READER_BYTES_S = 20_000  # the lowest rate at which an answer must be read, over each CONNECTION_POLL_S
CONNECTION_POLL_S = 5.0
CONNECTIONS = 64  # beyond these, the one that waits longest makes room for the next
MAX_CONNECTIONS = 2 * CONNECTIONS  # if none of them waits, further requests are refused with the status 503


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a check of each connection every few seconds."""

    head_s, look_s, reader_bytes_s = HEAD_S, CONNECTION_POLL_S, READER_BYTES_S
    most_open = CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since: float | None = self.loop.time()
        self._unread, self._answered = 0, self.cycle
        self._since = self.loop.time()
        self._next_check = self.loop.call_later(self.look_s, self._check)
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_check.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        if self._is_late():
            self.transport.abort()
        else:
            self._next_check = self.loop.call_later(self.look_s, self._check)

    def _is_late(self) -> bool:
        """Whether the client sends its request, or reads its answer, too slowly."""
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

    def _make_room(self) -> None:
        """If there are too many connections, end the oldest that brings no request, else the oldest reader.

        Half-open connections cost nothing to open: without this, 64 of them shut everybody out.
        """
        is_open = [one for one in self.connections if not one.transport.is_closing()]
        others = [one for one in is_open if isinstance(one, BoundedProtocol) and one is not self]
        if len(is_open) <= self.most_open:
            return
        idle = [one for one in others if one._is_waiting()]
        readers = [one for one in others if one.transport.get_write_buffer_size()]
        if oldest := min(idle or readers, key=lambda one: one._since, default=None):
            oldest.transport.abort()

    def _is_waiting(self) -> bool:
        """Whether no request is being answered: none has arrived completely since the last answer."""
        cycle: Any = self.cycle  # Any: None before the first request
        return cycle is None or bool(cycle.response_complete)
