"""What one request to the process that reads tokenizers goes through, and its answer: nobody else's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from types import TracebackType

from survey.vocabulary.table import LENGTH

AT_ONCE = 64 << 10  # what a pipe holds
COMPLAINTS_READ = 4096


class TooMuch(Exception):
    """An answer is longer than its cap."""


class Exchange:
    """Two pipes and a file for complaints, made for one request and closed after it.

    A tokenizer that took its process over may leave another behind, which holds what it was given: were it
    the pipes of the next request, too, it could answer for the next model.
    """

    request = answered = -1  # the ends that are ours

    def __init__(self, request: Sequence[bytes], cap_bytes: int) -> None:
        """Raises OSError."""
        self._left = [memoryview(part) for part in (LENGTH.pack(len(request[0])), *request)][::-1]
        self._cap_bytes, self.answer = cap_bytes, bytearray()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.theirs: list[int] = []
        try:
            reads, self.request = os.pipe()
            self.theirs.append(reads)
            self.answered, writes = os.pipe()
            self.theirs += [writes, os.dup(self._complaints.fileno())]
        except OSError:
            self.close()
            raise
        os.set_blocking(self.request, False)
        os.set_blocking(self.answered, False)

    def write(self) -> bool:
        """Send some of what is left, the last part first; whether there is more to send."""
        while self._left and not self._left[-1]:
            self._left.pop()
        try:
            if self._left:
                self._left[-1] = self._left[-1][os.write(self.request, self._left[-1][:AT_ONCE]) :]
        except BrokenPipeError:  # its end says more
            self._left.clear()
        except BlockingIOError:
            pass
        return bool(self._left)

    def read(self) -> bool:
        """Take some of the answer; whether there was any. Raises TooMuch."""
        try:
            more = os.read(self.answered, AT_ONCE)
        except BlockingIOError:
            return False
        self.answer += more
        if len(self.answer) > self._cap_bytes:
            raise TooMuch
        return bool(more)

    def complaints(self) -> bytes:
        """The end of what was written to stderr."""
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - COMPLAINTS_READ))
        return self._complaints.read(COMPLAINTS_READ)

    def close_theirs(self) -> None:
        """After they were handed over: an end that we hold is no end."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close(self) -> None:
        self.close_theirs()
        self._complaints.close()
        for end in (self.request, self.answered):
            if end >= 0:
                os.close(end)
        self.request = self.answered = -1

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
