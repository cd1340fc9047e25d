"""One process that reads tokenizers, from outside: what goes in, what comes out, and how it ended."""

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
from survey.vocabulary.exchange import Exchange, TooMuch
from survey.vocabulary.table import ENDED, OUT_OF_MEMORY

THREADS = 8  # of the libraries: each has a stack, which counts as memory
# What libraries say before they abort for want of memory: Rust, C++, Python, glibc.
_NO_MEMORY = re.compile(rb"memory allocation of \d+ bytes failed|bad_alloc|MemoryError|annot allocate memory")
# No token and no secret of ours is in reach of a tokenizer.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")

How = Literal["memory", "cpu", "wall", "answer", "killed", "crashed", "lost"]


class Ended(Exception):
    """A request was not answered. how: which limit it met, or what else; detail: the signal or exit code.

    lost: it was the server that ended, not its fork for this request.
    """

    def __init__(self, how: How, detail: str = "") -> None:
        super().__init__(how, detail)
        self.how, self.detail = how, detail


class ServerProcess:
    """A running server; after Ended it is good for nothing but `kill`."""

    def __init__(self) -> None:
        """Raises OSError where no process can be started."""
        self._control, theirs = socket.socketpair()
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        threads = min(THREADS, cpus())
        try:
            self._process = subprocess.Popen(
                python_command("survey.vocabulary.server"),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=kept | {"RAYON_NUM_THREADS": str(threads)},
                cwd="/",
                start_new_session=True,  # killed as a group; and Ctrl-C is the parent's to handle
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()

    def ask(self, request: Sequence[bytes], until: float, cap_bytes: int) -> bytes:
        """The answer to a request: a header and files. until: of time.monotonic(). Raises Ended."""
        try:
            with Exchange(request, cap_bytes) as exchange:
                self._hand_over(exchange)
                self._check(self._served(exchange, until), exchange)
                return bytes(exchange.answer)
        except TooMuch as error:
            raise Ended("answer") from error
        except OSError as error:  # no file or pipe to be had
            raise Ended("lost", error.strerror or str(error)) from error

    def _hand_over(self, exchange: Exchange) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end says more
            socket.send_fds(self._control, [b"?"], exchange.theirs)
        exchange.close_theirs()

    def _served(self, exchange: Exchange, until: float) -> bytes:
        """Write the request and read the answer, until the fork for it has ended: how it did."""
        with selectors.DefaultSelector() as ready:
            ready.register(exchange.request, selectors.EVENT_WRITE)
            ready.register(exchange.answered, selectors.EVENT_READ)
            ready.register(self._control, selectors.EVENT_READ)
            status = b""
            while not status:
                events = ready.select(max(0.0, until - time.monotonic()))
                if not events and time.monotonic() >= until:
                    raise Ended("wall")
                for key, _ in events:
                    if key.fd == exchange.request:
                        if not exchange.write():
                            ready.unregister(exchange.request)
                    elif key.fd == exchange.answered:
                        if not exchange.read():
                            ready.unregister(exchange.answered)
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
        """Raise Ended unless a fork ended well."""
        if len(status) != ENDED.size:
            self._kill_group()
            raise Ended("lost", _described(self._process.wait()))
        (code,) = ENDED.unpack(status)
        if code == 0:
            return
        complaints, detail = exchange.complaints(), _described(code)
        if code == OUT_OF_MEMORY or (code in (1, -signal.SIGABRT) and _NO_MEMORY.search(complaints)):
            raise Ended("memory")
        if code == -signal.SIGXCPU:
            raise Ended("cpu")
        if code == -signal.SIGALRM:
            raise Ended("wall")
        raise Ended("killed" if code in (-signal.SIGKILL, -signal.SIGTERM) else "crashed", detail)

    def runs(self) -> bool:
        """Whether it still waits for a request."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the server and whatever it runs."""
        self._kill_group()
        self._process.wait()
        self._control.close()

    def _kill_group(self) -> None:
        # Before it is waited for: until then nobody else can have its number.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _described(code: int) -> str:
    """An exit code as subprocess gives it, in words."""
    try:
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
