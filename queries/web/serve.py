"""The server of `survey serve`: the application of `queries.web.application` on a port of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence

from queries.web.application import Served, app
from survey.errors import UsageError


def listen(served: Served, host: str, port: int, names: Sequence[str], tell: Callable[[str], None]) -> None:
    """Answer on host:port until Ctrl-C.

    names: host names by which browsers may call it, besides `host` and localhost. tell: called with the URL
    once the server listens. Raises UsageError if the port cannot be had.
    """
    import uvicorn

    from queries.web.bounded_connections import MAX_CONNECTIONS, BoundedProtocol

    listening = _listening_socket(host, port)
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app(served, ["127.0.0.1", "localhost", shown, *names]),
        http=BoundedProtocol,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        backlog=MAX_CONNECTIONS,  # so many are accepted at once, each with a file descriptor
        log_level="warning",
        server_header=False,
    )
    tell(f"http://{shown}:{listening.getsockname()[1]}")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; name another --port") from error
    return listening
