"""One HTTP connection of the local Hub: requests are decoded and logged, answers framed, faults acted out."""

import socket
import struct
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from jobs.demo.hub.body_sender import BodySender
from jobs.demo.hub.faults import (
    Drip,
    FaultAction,
    IgnoreRange,
    ResetAfter,
    Stall,
    Status,
    Verbatim,
    next_action,
    spoil,
)
from jobs.demo.hub.replies import Body, HubReply, cut_to_range, memory, split_body
from jobs.demo.hub.request import LoggedRequest, Request

if TYPE_CHECKING:
    from jobs.demo.hub.http_server import HttpServer

_REQUEST_BODY_LIMIT_BYTES = 1 << 20
_BEFORE_RESET_S = 0.05  # an RST discards what the client has not received yet


class RequestHandler(BaseHTTPRequestHandler):
    """One connection, kept alive over many requests."""

    server: "HttpServer"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        shared = self.server.meter if self.server.name == "cdn" else None
        self._sender = BodySender(self.connection, self.server.host, shared)

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
            range=self.headers.get("Range"),
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
        self._sender.pause(self.server.host.shape.latency_s)
        if isinstance(action, Stall) and action.after_bytes == 0:
            self._sender.pause(action.seconds)
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
                self._sender.send(split_body(body, count)[0], entry)
                self._reset()
            case Stall(seconds, count) if count > 0:
                head, tail = split_body(body, count)
                self._sender.send(head, entry)
                self._sender.pause(seconds)
                self._sender.send(tail, entry)
            case Drip():
                self._drip(b"", b" ", action.interval_s)
            case _:
                self._sender.send(body, entry)

    def _drip(self, first: bytes, again: bytes, interval_s: float) -> None:
        """Send `again` byte by byte until the client leaves or the Hub closes."""
        self.connection.sendall(first)
        while True:
            for byte in again:
                self.connection.sendall(bytes([byte]))
                self._sender.pause(interval_s)

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

    def _reset(self) -> None:
        self._sender.pause(_BEFORE_RESET_S)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()  # the socket closes for good only without its file
        self.connection.close()
