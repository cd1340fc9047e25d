"""Send bodies over one connection, no faster than the shape of the link allows."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

from jobs.demo.hub.link import Host, Meter
from jobs.demo.hub.replies import Body, Span
from jobs.demo.hub.request import LoggedRequest

_PIECE_BYTES = 1 << 20
_SMALLEST_PIECE_BYTES = 1 << 16


class BodySender:
    """Sends over one connection. shared: the meter of all connections of the server, if they have a limit."""

    def __init__(self, connection: socket.socket, host: Host, shared: Meter | None) -> None:
        self._connection, self._host = connection, host
        self._own, self._shared = Meter(), shared

    def send(self, body: Body, entry: LoggedRequest) -> None:
        """Send a body, and count its bytes in the log. Raises ConnectionResetError, BrokenPipeError."""
        for span in body:
            if isinstance(span.source, bytes):
                self._send_span(span, entry, partial(_write_memory, self._connection, span.source))
            else:
                with span.source.open("rb", buffering=0) as file:
                    self._send_span(
                        span, entry, partial(os.sendfile, self._connection.fileno(), file.fileno())
                    )

    def _send_span(self, span: Span, entry: LoggedRequest, write: Callable[[int, int], int]) -> None:
        at, piece_bytes = span.start, self._piece_bytes()
        while at < span.stop:
            count = min(piece_bytes, span.stop - at)
            self._await_turn(count)
            entry.sent_bytes += count  # before sending: a client that has the bytes may already read the log
            sent = 0
            try:
                sent = write(at, count)
            finally:
                entry.sent_bytes -= count - sent
            if sent == 0:
                raise BrokenPipeError(f"the file on disk ends before byte {span.stop}")
            at += sent

    def _rates(self) -> Sequence[tuple[Meter, float]]:
        """The limits that hold now, with what counts against each."""
        shape = self._host.shape
        rates = [(self._own, shape.connection_bytes_s)]
        if self._shared is not None:
            rates.append((self._shared, shape.total_bytes_s))
        return [(meter, rate) for meter, rate in rates if rate is not None]

    def _piece_bytes(self) -> int:
        """The bytes that a limited link sends in 10 ms; a megabyte on an unlimited one."""
        hundredths = [int(rate / 100) for _, rate in self._rates()]
        return min([_PIECE_BYTES, *(max(_SMALLEST_PIECE_BYTES, count) for count in hundredths)])

    def _await_turn(self, count: int) -> None:
        due = [meter.reserve(count, rate) for meter, rate in self._rates()]
        if due:
            self.pause(max(due) - time.monotonic())

    def pause(self, seconds: float) -> None:
        """Wait. Raises ConnectionResetError if the Hub closes meanwhile."""
        if seconds > 0 and self._host.closing.wait(seconds):
            raise ConnectionResetError("the local Hub is closing")


def _write_memory(connection: socket.socket, content: bytes, at: int, count: int) -> int:
    return connection.send(memoryview(content)[at : at + count])
