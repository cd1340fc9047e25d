"""One process that reads tokenizers, from outside: what goes in, what comes out, and how it ended."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Literal

from survey.interpreter import python_command
from survey.machine import cpus
from survey.vocabulary.table import ENDED, LENGTH, OUT_OF_MEMORY

AT_ONCE = 64 << 10  # what a pipe holds
THREADS = 8  # of the libraries: each has a stack, which counts as memory
COMPLAINTS_READ = 4096
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
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._ended, theirs = os.pipe()
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        threads = min(THREADS, cpus())
        try:
            self._process = subprocess.Popen(
                python_command("survey.vocabulary.server", str(theirs)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                pass_fds=[theirs],
                env=kept | {"RAYON_NUM_THREADS": str(threads)},
                cwd="/",
                start_new_session=True,  # killed as a group; and Ctrl-C is the parent's to handle
                bufsize=0,
            )
        except BaseException:
            os.close(self._ended)
            self._complaints.close()
            raise
        finally:
            os.close(theirs)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)

    def ask(self, request: Sequence[bytes], until: float, cap_bytes: int) -> bytes:
        """The answer to a request: a header and files. until: of time.monotonic(). Raises Ended."""
        os.lseek(
            self._complaints.fileno(), 0, os.SEEK_SET
        )  # the server's, too: it would write behind a hole of what was cut off
        os.ftruncate(self._complaints.fileno(), 0)
        left = [memoryview(part) for part in (LENGTH.pack(len(request[0])), *request)][::-1]
        answer = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(self._stdin, selectors.EVENT_WRITE)
            ready.register(self._stdout, selectors.EVENT_READ)
            ready.register(self._ended, selectors.EVENT_READ)
            status = b""
            while not status:
                events = ready.select(max(0.0, until - time.monotonic()))
                if not events and time.monotonic() >= until:
                    raise Ended("wall")
                for key, _ in events:
                    if key.fileobj is self._stdin:
                        if not self._written(left):
                            ready.unregister(self._stdin)
                    elif key.fileobj is self._stdout:
                        if not self._received(answer, cap_bytes):
                            ready.unregister(self._stdout)
                    else:
                        status = os.read(self._ended, ENDED.size) or b"-"
        while self._received(answer, cap_bytes):  # what is still in the pipe
            pass
        self._check(status)
        return bytes(answer)

    def _written(self, left: list[memoryview]) -> bool:
        """Send some of what is left, the last part first; whether there is more to send."""
        while left and not left[-1]:
            left.pop()
        try:
            if left:
                left[-1] = left[-1][os.write(self._stdin.fileno(), left[-1][:AT_ONCE]) :]
        except BrokenPipeError:  # its end says more
            left.clear()
        except BlockingIOError:
            pass
        return bool(left)

    def _received(self, answer: bytearray, cap_bytes: int) -> bool:
        """Take some of the answer; whether there was any."""
        try:
            more = os.read(self._stdout.fileno(), AT_ONCE)
        except BlockingIOError:
            return False
        answer += more
        if len(answer) > cap_bytes:
            raise Ended("answer")
        return bool(more)

    def _check(self, status: bytes) -> None:
        """Raise Ended unless a fork ended well."""
        if len(status) != ENDED.size:
            self._kill_group()
            raise Ended("lost", _described(self._process.wait()))
        (code,) = ENDED.unpack(status)
        if code == 0:
            return
        complaints, detail = self._complaints_tail(), _described(code)
        if code == OUT_OF_MEMORY or (code in (1, -signal.SIGABRT) and _NO_MEMORY.search(complaints)):
            raise Ended("memory")
        if code == -signal.SIGXCPU:
            raise Ended("cpu")
        if code == -signal.SIGALRM:
            raise Ended("wall")
        raise Ended("killed" if code in (-signal.SIGKILL, -signal.SIGTERM) else "crashed", detail)

    def _complaints_tail(self) -> bytes:
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - COMPLAINTS_READ))
        return self._complaints.read(COMPLAINTS_READ)

    def runs(self) -> bool:
        """Whether it still waits for a request."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the server and whatever it runs."""
        self._kill_group()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()
        self._complaints.close()
        os.close(self._ended)

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
