"""Client side of the tokenizer server: start it, send a request, read the answer, learn how it ended."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Literal

from survey.process.interpreter import python_command
from survey.process.machine import cpus
from survey.vocabulary.process.exchange import AnswerTooLong, Exchange
from survey.vocabulary.table import ENDED, OUT_OF_MEMORY

LIBRARY_THREADS = 8  # of the libraries; the stack of each counts as memory
# Messages before an abort for lack of memory: Rust, C++, Python, glibc.
_NO_MEMORY = re.compile(rb"memory allocation of \d+ bytes failed|bad_alloc|MemoryError|annot allocate memory")
# Only these are passed on: a tokenizer must not see access tokens or other secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")

Cause = Literal["memory", "cpu", "wall", "answer", "killed", "crashed", "lost"]


class RequestEnded(Exception):
    """A request ended without an answer.

    cause   the limit that was exceeded, or how the process ended ("lost": the server itself, not its fork)
    detail  signal or exit code
    """

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(cause, detail)
        self.cause, self.detail = cause, detail


class ServerProcess:
    """A running server. After RequestEnded it can only be killed."""

    def __init__(self) -> None:
        """Raises OSError if no process can be started."""
        self._control, server_socket = socket.socketpair()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        threads = min(LIBRARY_THREADS, cpus())
        try:
            self._process = subprocess.Popen(
                python_command("survey.vocabulary.process.server"),
                stdin=server_socket.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment | {"RAYON_NUM_THREADS": str(threads)},
                cwd="/",
                start_new_session=True,  # killed as a group; Ctrl-C reaches the parent only
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            server_socket.close()

    def ask(self, request: Sequence[bytes], deadline: float, cap_bytes: int) -> bytes:
        """The answer to a request, which is a header and files.

        deadline: in time.monotonic(). cap_bytes: of the answer. Raises RequestEnded.
        """
        try:
            with Exchange(request, cap_bytes) as exchange:
                self._send_descriptors(exchange)
                self._check(self._serve(exchange, deadline), exchange)
                return bytes(exchange.answer)
        except AnswerTooLong as error:
            raise RequestEnded("answer") from error
        except OSError as error:  # no descriptor left for a file or a pipe
            raise RequestEnded("lost", error.strerror or str(error)) from error

    def _send_descriptors(self, exchange: Exchange) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server's exit status says why
            socket.send_fds(self._control, [b"?"], exchange.server_fds)
        exchange.close_server_fds()

    def _serve(self, exchange: Exchange, deadline: float) -> bytes:
        """Write the request and read the answer until the fork ends; return its packed exit code."""
        with selectors.DefaultSelector() as ready:
            ready.register(exchange.request_fd, selectors.EVENT_WRITE)
            ready.register(exchange.answer_fd, selectors.EVENT_READ)
            ready.register(self._control, selectors.EVENT_READ)
            status = b""
            while not status:
                events = ready.select(max(0.0, deadline - time.monotonic()))
                if not events and time.monotonic() >= deadline:
                    raise RequestEnded("wall")
                for key, _ in events:
                    if key.fd == exchange.request_fd:
                        if not exchange.write():
                            ready.unregister(exchange.request_fd)
                    elif key.fd == exchange.answer_fd:
                        if not exchange.read():
                            ready.unregister(exchange.answer_fd)
                    else:
                        status = self._status()
        while exchange.read():  # what is still in the pipe
            pass
        return status

    def _status(self) -> bytes:
        try:
            return self._control.recv(ENDED.size) or b"-"
        except ConnectionResetError:
            return b"-"

    def _check(self, status: bytes, exchange: Exchange) -> None:
        """Raise RequestEnded unless the fork ended well."""
        if len(status) != ENDED.size:
            self._kill_group()
            raise RequestEnded("lost", _described(self._process.wait()))
        (code,) = ENDED.unpack(status)
        if code == 0:
            return
        stderr, detail = exchange.stderr_tail(), _described(code)
        if code == OUT_OF_MEMORY or (code in (1, -signal.SIGABRT) and _NO_MEMORY.search(stderr)):
            raise RequestEnded("memory")
        if code == -signal.SIGXCPU:
            raise RequestEnded("cpu")
        if code == -signal.SIGALRM:
            raise RequestEnded("wall")
        raise RequestEnded("killed" if code in (-signal.SIGKILL, -signal.SIGTERM) else "crashed", detail)

    def runs(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the server and its forks."""
        self._kill_group()
        self._process.wait()
        self._control.close()

    def _kill_group(self) -> None:
        # Only before `wait`: until then its process id cannot be reused.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _described(code: int) -> str:
    """An exit code as subprocess gives it, in words."""
    try:
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
