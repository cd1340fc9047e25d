"""The HTTP servers of the local Hub, of its API and its CDN: an origin each, a thread for each connection."""

import socket
import socketserver
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

from jobs.demo.hub.faults import ServerName
from jobs.demo.hub.http_connection import RequestHandler
from jobs.demo.hub.link import Host, Meter
from jobs.demo.hub.replies import HubReply
from jobs.demo.hub.request import Request


class HttpServer(ThreadingHTTPServer):
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
