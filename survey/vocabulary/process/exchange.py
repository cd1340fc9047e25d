"""The pipes of one request to the tokenizer process and of its answer, never reused for another request."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from types import TracebackType

from survey.vocabulary.table import LENGTH

CHUNK_BYTES = 64 << 10  # capacity of a pipe
STDERR_TAIL_BYTES = 4096


class AnswerTooLong(Exception):
    """An answer is longer than its cap."""


class Exchange:
    """Two pipes and a file for stderr, made for one request and closed after it.

    A tokenizer that took over its process may leave another process behind, which still holds these pipes. If
    they were reused, it could answer for the next model.
    """

    request_fd = answer_fd = -1  # our ends of the pipes

    def __init__(self, request: Sequence[bytes], cap_bytes: int) -> None:
        """Raises OSError."""
        self._unsent = [memoryview(part) for part in (LENGTH.pack(len(request[0])), *request)][::-1]
        self._cap_bytes, self.answer = cap_bytes, bytearray()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.server_fds: list[int] = []
        try:
            reads, self.request_fd = os.pipe()
            self.server_fds.append(reads)
            self.answer_fd, writes = os.pipe()
            self.server_fds += [writes, os.dup(self._stderr.fileno())]
        except OSError:
            self.close()
            raise
        os.set_blocking(self.request_fd, False)
        os.set_blocking(self.answer_fd, False)

    def write(self) -> bool:
        """Send a chunk of the request; return whether any is left. `_unsent` holds the parts in reverse."""
        while self._unsent and not self._unsent[-1]:
            self._unsent.pop()
        try:
            if self._unsent:
                sent = os.write(self.request_fd, self._unsent[-1][:CHUNK_BYTES])
                self._unsent[-1] = self._unsent[-1][sent:]
        except BrokenPipeError:  # the process ended; its exit status says why
            self._unsent.clear()
        except BlockingIOError:
            pass
        return bool(self._unsent)

    def read(self) -> bool:
        """Append a chunk to the answer; return whether there was one. Raises AnswerTooLong."""
        try:
            chunk = os.read(self.answer_fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.answer += chunk
        if len(self.answer) > self._cap_bytes:
            raise AnswerTooLong
        return bool(chunk)

    def stderr_tail(self) -> bytes:
        """The last STDERR_TAIL_BYTES that were written to stderr."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - STDERR_TAIL_BYTES))
        return self._stderr.read(STDERR_TAIL_BYTES)

    def close_server_fds(self) -> None:
        """Close the server's ends after it has received them: a pipe ends only if every copy is closed."""
        while self.server_fds:
            os.close(self.server_fds.pop())

    def close(self) -> None:
        """Close every pipe and the file."""
        self.close_server_fds()
        self._stderr.close()
        for fd in (self.request_fd, self.answer_fd):
            if fd >= 0:
                os.close(fd)
        self.request_fd = self.answer_fd = -1

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
