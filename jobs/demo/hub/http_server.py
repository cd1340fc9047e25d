"""HTTP of the local Hub: framing, ranges, faults, rate limits, and the log of all requests."""

import os
import socket
import socketserver
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any
from urllib.parse import parse_qs, unquote

from jobs.demo.hub.faults import (
    Drip,
    FaultAction,
    IgnoreRange,
    ResetAfter,
    ServerName,
    Stall,
    Status,
    Verbatim,
    next_action,
    spoil,
)
from jobs.demo.hub.link import Host, LoggedRequest, Meter, Request
from jobs.demo.hub.replies import Body, HubReply, Span, cut_to_range, memory, split_body

_PIECE_BYTES = 1 << 20
_SMALLEST_PIECE_BYTES = 1 << 16
_REQUEST_BODY_LIMIT_BYTES = 1 << 20
_BEFORE_RESET_S = 0.05  # an RST discards what the client has not received yet


class WireServer(ThreadingHTTPServer):
    """One origin. It serves each connection in a thread and closes without waiting for clients."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: str, name: ServerName, host: Host, answer: Callable[[Request], HubReply]
    ) -> None:
        self.name, self.host, self.answer = name, host, answer
        self.meter = Meter()
        self._open: set[socket.socket] = set()
        self._changed = Condition()
        super().__init__((address, 0), RequestHandler)
        self.origin = f"http://{address}:{self.server_address[1]}"
        self._thread = Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for our name

    # Any: the base class leaves these two open for datagrams, which are no part of an HTTP server.
    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not self.host.closing.is_set():
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Stop accepting, cut every connection, and wait for the threads to end."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # its thread or its client was faster
                    continue
            self._changed.wait_for(lambda: not self._open, timeout=2)


class RequestHandler(BaseHTTPRequestHandler):
    """One connection, kept alive over many requests."""

    server: WireServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._meter = Meter()

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client left, as clients of large files do

    def log_message(self, format: str, *args: object) -> None:
        """The request log is in memory; nothing is printed."""

    def do_GET(self) -> None:
        try:
            request = self._request()
        except ValueError as error:
            self.close_connection = True
            self._deliver(HubReply(400, {}, memory(str(error).encode())), None, self._logged("", {}, 400))
            return
        path = "/".join(request.segments)
        action = next_action(self.server.host.faults, self.server.name, self.command, f"/{path}")
        reply = spoil(self._reply(request, action), action)
        self._deliver(reply, action, self._logged(f"/{path}", request.query, reply.status))

    do_HEAD = do_POST = do_GET  # noqa: N815 (the names that http.server looks for)

    def _request(self) -> Request:
        """The request, strictly decoded. Raises ValueError if it is malformed."""
        body_bytes = int(self.headers.get("Content-Length", "0"))
        if not 0 <= body_bytes <= _REQUEST_BODY_LIMIT_BYTES or "Transfer-Encoding" in self.headers:
            raise ValueError("a request body must declare a length of at most 1 MiB")
        raw_path, _, query = self.path.partition("?")
        return Request(
            method=self.command,
            raw_path=raw_path,
            segments=tuple(unquote(part, errors="strict") for part in raw_path.split("/")[1:]),
            query=parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=100),
            authorization=self.headers.get("Authorization"),
            body=self.rfile.read(body_bytes),
        )

    def _reply(self, request: Request, action: FaultAction | None) -> HubReply:
        if isinstance(action, Status):
            return HubReply(action.code, action.headers, memory(action.body))
        reply = self.server.answer(request)
        if isinstance(action, IgnoreRange) or request.method != "GET":
            return reply
        return cut_to_range(reply, self.headers.get("Range"))

    def _logged(self, path: str, query: dict[str, list[str]], status: int) -> LoggedRequest:
        headers = {name.lower(): value for name, value in self.headers.items()}
        authorization = headers.pop("authorization", None) is not None
        request = (self.server.name, self.command, path, query, headers.get("range"), authorization)
        entry = LoggedRequest(*request, status, headers=headers)
        self.server.host.log.append(entry)
        return entry

    def _deliver(self, reply: HubReply, action: FaultAction | None, entry: LoggedRequest) -> None:
        self._pause(self.server.host.shape.latency_s)
        if isinstance(action, Stall) and action.after_bytes == 0:
            self._pause(action.seconds)
        if isinstance(action, Verbatim):
            self.wfile.write(action.content)
            self.close_connection = True
            return
        if isinstance(action, Drip) and action.part == "headers":
            self._drip(b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n", action.interval_s)
        self._send_head(reply)
        body: Body = () if self.command == "HEAD" else reply.body
        match action:
            case ResetAfter(count):
                self._send(split_body(body, count)[0], entry)
                self._reset()
            case Stall(seconds, count) if count > 0:
                head, tail = split_body(body, count)
                self._send(head, entry)
                self._pause(seconds)
                self._send(tail, entry)
            case Drip():
                self._drip(b"", b" ", action.interval_s)
            case _:
                self._send(body, entry)

    def _drip(self, first: bytes, again: bytes, interval_s: float) -> None:
        """Send `again` byte by byte until the client leaves or the Hub closes."""
        self.connection.sendall(first)
        while True:
            for byte in again:
                self.connection.sendall(bytes([byte]))
                self._pause(interval_s)

    def _send_head(self, reply: HubReply) -> None:
        self.send_response_only(reply.status)
        headers = {
            "Date": self.date_time_string(),
            "Content-Length": str(reply.body_bytes),
            **({"Connection": "close"} if self.close_connection else {}),
            **reply.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: Body, entry: LoggedRequest) -> None:
        for span in body:
            if isinstance(span.source, bytes):
                self._send_span(span, entry, partial(_write_memory, self.connection, span.source))
            else:
                with span.source.open("rb", buffering=0) as file:
                    self._send_span(
                        span, entry, partial(os.sendfile, self.connection.fileno(), file.fileno())
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
        shape = self.server.host.shape
        total = shape.total_bytes_s if self.server.name == "cdn" else None
        pairs = ((self._meter, shape.connection_bytes_s), (self.server.meter, total))
        return [(meter, rate) for meter, rate in pairs if rate is not None]

    def _piece_bytes(self) -> int:
        """The bytes that a limited link sends in 10 ms; a megabyte on an unlimited one."""
        hundredths = [int(rate / 100) for _, rate in self._rates()]
        return min([_PIECE_BYTES, *(max(_SMALLEST_PIECE_BYTES, some) for some in hundredths)])

    def _await_turn(self, count: int) -> None:
        due = [meter.reserve(count, rate) for meter, rate in self._rates()]
        if due:
            self._pause(max(due) - time.monotonic())

    def _pause(self, seconds: float) -> None:
        if seconds > 0 and self.server.host.closing.wait(seconds):
            raise ConnectionResetError("the local Hub is closing")

    def _reset(self) -> None:
        self._pause(_BEFORE_RESET_S)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()  # the socket closes for good only without its file
        self.connection.close()


def _write_memory(connection: socket.socket, content: bytes, at: int, count: int) -> int:
    return connection.send(memoryview(content)[at : at + count])
